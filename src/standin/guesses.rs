//! Everything that the stand-in does by guess: no recorded answer shows it and no fact states it. `docs/guesses.md`
//! tells what would settle each.

/// A job that nobody asks about ends by itself after this span of the stand-in's clock.
pub(crate) const JOB_ENDS_BY_ITSELF_AFTER_MS: i64 = 60_000;
/// How many of the newest jobs are looked at for that: older ones have long ended.
pub(crate) const JOBS_LOOKED_AT: usize = 64;
/// The text of a job whose machine could not be stopped.
pub(crate) const STOP_FAILED: &str = "Failed to stop the virtual machine";
/// The text of lockAccount, which always fails.
pub(crate) const LOCK_ACCOUNT: &str = "Account is not found";
/// The text of an upload too large for the form limit.
pub(crate) const FORM_TOO_LARGE: &str = "Form is too large";
/// The span of a session without calls, in seconds (`session.timeout`).
pub(crate) const SESSION_SECONDS: i64 = 1_800;
/// The text of `resourcetype` values that no icon can have.
pub(crate) const ICON_TYPE: &str = "Invalid resource type";
/// The text of a parameter longer than its limit.
pub(crate) fn too_long(name: &str, limit: usize) -> String {
    format!("Value greater than max allowed length {limit} for param: {name}")
}
/// `usage` of disk operations and bytes.
pub(crate) fn disk_usage_text(usage_type: u8, raw: &str) -> String {
    let what = match usage_type {
        21 => "read requests",
        22 => "write requests",
        23 => "bytes read",
        _ => "bytes written",
    };
    format!("{raw} {what}")
}
/// A pattern for passwords is not tried: where one is set, no password passes.
pub(crate) const PASSWORD_REGEX: &str = "User password does not match with password policy regex.";
/// The text of a user name that another user of the domain has; CloudStack's goes on with ids.
pub(crate) fn username_taken(name: &str) -> String {
    format!("Username [{name}] already exists in domain")
}
/// The text of a picture whose resource does not exist.
pub(crate) fn no_such_resource(id: &str, kind: &str) -> String {
    format!("Unable to find resource by uuid {id} and type {kind}")
}
/// The text of an icon that does not fit into its column.
pub(crate) const ICON_TOO_LONG: &str = "DB Exception on: insert into resource_icon";
