//! Looks after requests to delete accounts, by the clock.

use super::{app::App, work::JobError};
use crate::{people::leaving, store::leaving as rows};

/// Tells administrators what is due, and closes what is done. Cheap where nothing waits.
pub async fn look_after(app: &App) -> Result<u64, JobError> {
    let mut tx = app.store.read().await?;
    let waiting = rows::list(&mut tx, false, 1).await?;
    tx.commit().await?;
    if waiting.is_empty() {
        return Ok(0);
    }
    let mut tx = app.store.begin().await?;
    let changed = leaving::look_after(&mut tx, app.clock.now(), app.config.billing.zone).await?;
    tx.commit().await?;
    Ok(changed)
}
