//! Many rows in one statement: the second file in which the databases differ. SQLite takes a JSON array, PostgreSQL
//! arrays; both were the fastest of what was tried (storage notes), and both are one static text.

use super::{StoreError, Tx, rating::ChargeDay};

/// Rows a statement carries at most: more gain nothing on either database.
pub const ROWS_PER_STATEMENT: usize = 5_000;

/// A usage record ready to be stored.
#[derive(Debug, Clone)]
pub struct NewRecord {
    /// Sixteen bytes, see `usage::record::RecordKey`.
    pub key: [u8; 16],
    /// The account that pays.
    pub account_id: i64,
    /// The project, where it is a project's.
    pub project_id: Option<i64>,
    /// CloudStack's usage type.
    pub usage_type: i64,
    /// Number of the resource.
    pub resource_id: i64,
    /// Number of the offering.
    pub offering_id: Option<i64>,
    /// First instant of the window, ms.
    pub start_ms: i64,
    /// First instant after the window, ms.
    pub end_ms: i64,
    /// Millionths of an hour, bytes or operations.
    pub quantity: i64,
    /// Bytes held.
    pub size_bytes: Option<i64>,
    /// Raw rows it stands for.
    pub seen: i64,
    /// See `usage::record::Standing::code`.
    pub standing: i64,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        use std::fmt::Write as _;
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Inserts records; rows whose key is there already stay as they are. Gives the number inserted.
pub async fn insert_records(tx: &mut Tx, rows: &[NewRecord], run_id: i64) -> Result<u64, StoreError> {
    let mut inserted = 0;
    for chunk in rows.chunks(ROWS_PER_STATEMENT) {
        inserted += match tx {
            Tx::Sqlite(conn) => {
                let json: Vec<serde_json::Value> = chunk
                    .iter()
                    .map(|row| {
                        serde_json::json!([
                            hex(&row.key),
                            row.account_id,
                            row.project_id,
                            row.usage_type,
                            row.resource_id,
                            row.offering_id,
                            row.start_ms,
                            row.end_ms,
                            row.quantity,
                            row.size_bytes,
                            row.seen,
                            row.standing
                        ])
                    })
                    .collect();
                sqlx::query(
                    "insert into usage_record (key, account_id, project_id, usage_type, resource_id, offering_id, \
                       start_ms, end_ms, quantity, size_bytes, seen, standing, run_id) \
                     select unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, \
                       value ->> 6, value ->> 7, value ->> 8, value ->> 9, value ->> 10, value ->> 11, $2 \
                     from json_each($1) where true on conflict (key) do nothing",
                )
                .bind(serde_json::Value::Array(json).to_string())
                .bind(run_id)
                .execute(&mut **conn)
                .await?
                .rows_affected()
            }
            Tx::Postgres(conn) => {
                let keys: Vec<Vec<u8>> = chunk.iter().map(|row| row.key.to_vec()).collect();
                let column = |get: fn(&NewRecord) -> i64| chunk.iter().map(get).collect::<Vec<i64>>();
                let optional = |get: fn(&NewRecord) -> Option<i64>| chunk.iter().map(get).collect::<Vec<Option<i64>>>();
                sqlx::query(
                    "insert into usage_record (key, account_id, project_id, usage_type, resource_id, offering_id, \
                       start_ms, end_ms, quantity, size_bytes, seen, standing, run_id) \
                     select k, a, p, t, r, o, s, e, q, b, n, st, $13 from unnest($1::bytea[], $2::bigint[], $3::bigint[], \
                       $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], \
                       $11::bigint[], $12::bigint[]) as x(k, a, p, t, r, o, s, e, q, b, n, st) on conflict (key) do nothing",
                )
                .bind(keys)
                .bind(column(|row| row.account_id))
                .bind(optional(|row| row.project_id))
                .bind(column(|row| row.usage_type))
                .bind(column(|row| row.resource_id))
                .bind(optional(|row| row.offering_id))
                .bind(column(|row| row.start_ms))
                .bind(column(|row| row.end_ms))
                .bind(column(|row| row.quantity))
                .bind(optional(|row| row.size_bytes))
                .bind(column(|row| row.seen))
                .bind(column(|row| row.standing))
                .bind(run_id)
                .execute(&mut **conn)
                .await?
                .rows_affected()
            }
        };
    }
    Ok(inserted)
}

/// Numbers resources and offerings: each CloudStack id gets one row. Gives (CloudStack id, number) for all asked.
pub async fn number_resources(tx: &mut Tx, wanted: &[(String, String)]) -> Result<Vec<(String, i64)>, StoreError> {
    let mut found = Vec::with_capacity(wanted.len());
    for chunk in wanted.chunks(ROWS_PER_STATEMENT) {
        match tx {
            Tx::Sqlite(conn) => {
                let json = serde_json::json!(chunk).to_string();
                sqlx::query(
                    "insert into resource (cloud_id, name) select value ->> 0, value ->> 1 from json_each($1) where true \
                     on conflict (cloud_id) do update set name = excluded.name where resource.name <> excluded.name and excluded.name <> ''",
                )
                .bind(&json)
                .execute(&mut **conn)
                .await?;
                found.extend(
                    sqlx::query_as::<_, (String, i64)>(
                        "select resource.cloud_id, resource.id from json_each($1) as wanted \
                         join resource on resource.cloud_id = wanted.value ->> 0",
                    )
                    .bind(&json)
                    .fetch_all(&mut **conn)
                    .await?,
                );
            }
            Tx::Postgres(conn) => {
                let ids: Vec<&str> = chunk.iter().map(|(id, _)| id.as_str()).collect();
                let names: Vec<&str> = chunk.iter().map(|(_, name)| name.as_str()).collect();
                sqlx::query(
                    "insert into resource (cloud_id, name) select i, n from unnest($1::text[], $2::text[]) as x(i, n) \
                     on conflict (cloud_id) do update set name = excluded.name where resource.name <> excluded.name and excluded.name <> ''",
                )
                .bind(&ids)
                .bind(&names)
                .execute(&mut **conn)
                .await?;
                found.extend(
                    sqlx::query_as::<_, (String, i64)>("select cloud_id, id from resource where cloud_id = any($1)")
                        .bind(&ids)
                        .fetch_all(&mut **conn)
                        .await?,
                );
            }
        }
    }
    Ok(found)
}

/// Stores what days cost by usage type; what was posted stays. A correction that waits for a person, or that one refused, goes
/// on as it was if the day costs what it did then, and is judged anew otherwise.
pub async fn put_charge_days(tx: &mut Tx, rows: &[ChargeDay]) -> Result<(), StoreError> {
    for chunk in rows.chunks(ROWS_PER_STATEMENT) {
        match tx {
            Tx::Sqlite(conn) => {
                let json: Vec<serde_json::Value> = chunk
                    .iter()
                    .map(|row| {
                        serde_json::json!([
                            row.account_id,
                            row.day,
                            row.usage_type,
                            row.book_id,
                            row.records,
                            row.unpriced,
                            row.failed,
                            row.issue,
                            row.net_nanos,
                            row.tax_percent,
                            row.terms_id
                        ])
                    })
                    .collect();
                sqlx::query(
                    "insert into charge_day (account_id, day, usage_type, book_id, records, unpriced, failed, issue, \
                       net_nanos, tax_percent, terms_id, unsettled) \
                     select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, \
                       value ->> 7, value ->> 8, value ->> 9, value ->> 10, 1 from json_each($1) where true \
                     on conflict (account_id, day, usage_type) do update set book_id = excluded.book_id, \
                       records = excluded.records, unpriced = excluded.unpriced, failed = excluded.failed, \
                       issue = excluded.issue, net_nanos = excluded.net_nanos, tax_percent = excluded.tax_percent, \
                       terms_id = excluded.terms_id, \
                       unsettled = case when charge_day.unsettled in (2, 3) and charge_day.net_nanos = excluded.net_nanos \
                         then charge_day.unsettled else 1 end",
                )
                .bind(serde_json::Value::Array(json).to_string())
                .execute(&mut **conn)
                .await?;
            }
            Tx::Postgres(conn) => {
                let column = |get: fn(&ChargeDay) -> i64| chunk.iter().map(get).collect::<Vec<i64>>();
                let text = |get: fn(&ChargeDay) -> &Option<String>| {
                    chunk.iter().map(|row| get(row).clone()).collect::<Vec<Option<String>>>()
                };
                sqlx::query(
                    "insert into charge_day (account_id, day, usage_type, book_id, records, unpriced, failed, issue, \
                       net_nanos, tax_percent, terms_id, unsettled) \
                     select a, d, t, b, r, u, f, i, n, x, w, 1 from unnest($1::bigint[], $2::bigint[], $3::bigint[], \
                       $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::text[], $9::bigint[], $10::text[], $11::bigint[]) \
                       as x(a, d, t, b, r, u, f, i, n, x, w) \
                     on conflict (account_id, day, usage_type) do update set book_id = excluded.book_id, \
                       records = excluded.records, unpriced = excluded.unpriced, failed = excluded.failed, \
                       issue = excluded.issue, net_nanos = excluded.net_nanos, tax_percent = excluded.tax_percent, \
                       terms_id = excluded.terms_id, \
                       unsettled = case when charge_day.unsettled in (2, 3) and charge_day.net_nanos = excluded.net_nanos \
                         then charge_day.unsettled else 1 end",
                )
                .bind(column(|row| row.account_id))
                .bind(column(|row| row.day))
                .bind(column(|row| row.usage_type))
                .bind(column(|row| row.book_id))
                .bind(column(|row| row.records))
                .bind(column(|row| row.unpriced))
                .bind(column(|row| row.failed))
                .bind(text(|row| &row.issue))
                .bind(column(|row| row.net_nanos))
                .bind(text(|row| &row.tax_percent))
                .bind(chunk.iter().map(|row| row.terms_id).collect::<Vec<Option<i64>>>())
                .execute(&mut **conn)
                .await?;
            }
        }
    }
    Ok(())
}
