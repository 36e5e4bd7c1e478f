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
    /// Number of its attributes.
    pub attributes_id: Option<i64>,
    /// What a person decided to charge instead of `quantity`.
    pub charged_quantity: Option<i64>,
    /// Part windows: what they report beyond what is charged already.
    pub estimate: Option<i64>,
    /// The review item that it belongs to.
    pub item_id: Option<i64>,
}

/// Attributes ready to be numbered.
#[derive(Debug, Clone)]
pub struct NewAttributes {
    /// Sixteen bytes of a hash over all of it.
    pub digest: [u8; 16],
    /// The zone.
    pub zone_id: Option<String>,
    /// The template.
    pub template_id: Option<String>,
    /// The OS type.
    pub os_type_id: Option<String>,
    /// Processors.
    pub cpu_number: Option<i64>,
    /// MHz.
    pub cpu_speed: Option<i64>,
    /// MiB.
    pub memory_mib: Option<i64>,
    /// A list of [key, value].
    pub tags: Option<String>,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        use std::fmt::Write as _;
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A row of numbers behind a key, as a JSON array: written by hand, since it is what ingesting spends its time on.
fn push_row(text: &mut String, key: &[u8], numbers: &[Option<i64>]) {
    use std::fmt::Write as _;
    text.push_str(if text.is_empty() { "[[\"" } else { ",[\"" });
    for byte in key {
        let _ = write!(text, "{byte:02x}");
    }
    text.push('"');
    for number in numbers {
        let _ = match number {
            Some(number) => write!(text, ",{number}"),
            None => write!(text, ",null"),
        };
    }
    text.push(']');
}

/// Inserts records; rows whose key is there already stay as they are. Gives the number inserted.
pub async fn insert_records(tx: &mut Tx, rows: &[NewRecord], run_id: i64) -> Result<u64, StoreError> {
    let mut inserted = 0;
    for chunk in rows.chunks(ROWS_PER_STATEMENT) {
        inserted += match tx {
            Tx::Sqlite(conn) => {
                let mut text = String::with_capacity(chunk.len() * 160);
                for row in chunk {
                    let numbers = [
                        Some(row.account_id),
                        row.project_id,
                        Some(row.usage_type),
                        Some(row.resource_id),
                        row.offering_id,
                        Some(row.start_ms),
                        Some(row.end_ms),
                        Some(row.quantity),
                        row.size_bytes,
                        Some(row.seen),
                        Some(row.standing),
                        row.attributes_id,
                        row.charged_quantity,
                        row.estimate,
                        row.item_id,
                    ];
                    push_row(&mut text, &row.key, &numbers);
                }
                text.push(']');
                sqlx::query(
                    "insert into usage_record (key, account_id, project_id, usage_type, resource_id, offering_id, \
                       start_ms, end_ms, quantity, size_bytes, seen, standing, attributes_id, charged_quantity, estimate, \
                       item_id, run_id) \
                     select unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, \
                       value ->> 6, value ->> 7, value ->> 8, value ->> 9, value ->> 10, value ->> 11, value ->> 12, \
                       value ->> 13, value ->> 14, value ->> 15, $2 \
                     from json_each($1) where true on conflict (key) do nothing",
                )
                .bind(text)
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
                       start_ms, end_ms, quantity, size_bytes, seen, standing, run_id, attributes_id, charged_quantity, \
                       estimate, item_id) \
                     select k, a, p, t, r, o, s, e, q, b, n, st, $13, ai, cq, es, i from unnest($1::bytea[], $2::bigint[], \
                       $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], \
                       $10::bigint[], $11::bigint[], $12::bigint[], $14::bigint[], $15::bigint[], $16::bigint[], \
                       $17::bigint[]) as x(k, a, p, t, r, o, s, e, q, b, n, st, ai, cq, es, i) on conflict (key) do nothing",
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
                .bind(optional(|row| row.attributes_id))
                .bind(optional(|row| row.charged_quantity))
                .bind(optional(|row| row.estimate))
                .bind(optional(|row| row.item_id))
                .execute(&mut **conn)
                .await?
                .rows_affected()
            }
        };
    }
    Ok(inserted)
}

/// What becomes of a stored record.
#[derive(Debug, Clone, Copy)]
pub struct ChangedRecord {
    /// Its key.
    pub key: [u8; 16],
    /// Raw rows it stands for.
    pub seen: i64,
    /// See `usage::record::Standing::code`.
    pub standing: i64,
    /// What a person decided to charge instead of what is reported.
    pub charged_quantity: Option<i64>,
    /// Part windows: what they report beyond what is charged already.
    pub estimate: Option<i64>,
    /// The review item that it belongs to.
    pub item_id: Option<i64>,
}

/// Changes stored records; every one must be there. Where no run of the sync does it, the run that was noted stays.
pub async fn change_records(tx: &mut Tx, rows: &[ChangedRecord], run_id: Option<i64>) -> Result<(), StoreError> {
    for chunk in rows.chunks(ROWS_PER_STATEMENT) {
        let changed = match tx {
            Tx::Sqlite(conn) => {
                let mut text = String::with_capacity(chunk.len() * 80);
                for row in chunk {
                    let numbers = [Some(row.seen), Some(row.standing), row.charged_quantity, row.estimate, row.item_id];
                    push_row(&mut text, &row.key, &numbers);
                }
                text.push(']');
                sqlx::query(
                    "update usage_record set seen = x.value ->> 1, standing = x.value ->> 2, \
                       charged_quantity = x.value ->> 3, estimate = x.value ->> 4, item_id = x.value ->> 5, \
                       run_id = coalesce($2, run_id) \
                     from json_each($1) as x where usage_record.key = unhex(x.value ->> 0)",
                )
                .bind(text)
                .bind(run_id)
                .execute(&mut **conn)
                .await?
                .rows_affected()
            }
            Tx::Postgres(conn) => {
                let optional =
                    |get: fn(&ChangedRecord) -> Option<i64>| chunk.iter().map(get).collect::<Vec<Option<i64>>>();
                sqlx::query(
                    "update usage_record set seen = x.n, standing = x.s, charged_quantity = x.q, estimate = x.e, \
                       item_id = x.i, run_id = coalesce($7, run_id) \
                     from unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[]) \
                       as x(k, n, s, q, e, i) where usage_record.key = x.k",
                )
                .bind(chunk.iter().map(|row| row.key.to_vec()).collect::<Vec<Vec<u8>>>())
                .bind(chunk.iter().map(|row| row.seen).collect::<Vec<i64>>())
                .bind(chunk.iter().map(|row| row.standing).collect::<Vec<i64>>())
                .bind(optional(|row| row.charged_quantity))
                .bind(optional(|row| row.estimate))
                .bind(optional(|row| row.item_id))
                .bind(run_id)
                .execute(&mut **conn)
                .await?
                .rows_affected()
            }
        };
        if changed != u64::try_from(chunk.len()).unwrap_or(u64::MAX) {
            return Err(StoreError::Nonsense(format!("{changed} of {} records were there to be changed", chunk.len())));
        }
    }
    Ok(())
}

/// Numbers sets of attributes: each distinct one gets one row. Gives (digest, number) for all asked.
pub async fn number_attributes(tx: &mut Tx, wanted: &[NewAttributes]) -> Result<Vec<([u8; 16], i64)>, StoreError> {
    let mut found: Vec<([u8; 16], i64)> = Vec::with_capacity(wanted.len());
    let mut take = |rows: Vec<(Vec<u8>, i64)>| {
        found.extend(rows.into_iter().filter_map(|(digest, id)| Some((<[u8; 16]>::try_from(digest).ok()?, id))));
    };
    for chunk in wanted.chunks(ROWS_PER_STATEMENT) {
        match tx {
            Tx::Sqlite(conn) => {
                let json: Vec<serde_json::Value> = chunk
                    .iter()
                    .map(|row| {
                        serde_json::json!([
                            hex(&row.digest),
                            row.zone_id,
                            row.template_id,
                            row.os_type_id,
                            row.cpu_number,
                            row.cpu_speed,
                            row.memory_mib,
                            row.tags
                        ])
                    })
                    .collect();
                let json = serde_json::Value::Array(json).to_string();
                sqlx::query(
                    "insert into usage_attributes (digest, zone_id, template_id, os_type_id, cpu_number, cpu_speed, \
                       memory_mib, tags) \
                     select unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, \
                       value ->> 6, value ->> 7 from json_each($1) where true on conflict (digest) do nothing",
                )
                .bind(&json)
                .execute(&mut **conn)
                .await?;
                take(
                    sqlx::query_as::<_, (Vec<u8>, i64)>(
                        "select a.digest, a.id from json_each($1) as wanted \
                         join usage_attributes a on a.digest = unhex(wanted.value ->> 0)",
                    )
                    .bind(&json)
                    .fetch_all(&mut **conn)
                    .await?,
                );
            }
            Tx::Postgres(conn) => {
                let digests: Vec<Vec<u8>> = chunk.iter().map(|row| row.digest.to_vec()).collect();
                let texts = |get: fn(&NewAttributes) -> Option<&str>| chunk.iter().map(get).collect::<Vec<_>>();
                let numbers =
                    |get: fn(&NewAttributes) -> Option<i64>| chunk.iter().map(get).collect::<Vec<Option<i64>>>();
                sqlx::query(
                    "insert into usage_attributes (digest, zone_id, template_id, os_type_id, cpu_number, cpu_speed, \
                       memory_mib, tags) \
                     select d, z, t, o, c, s, m, g from unnest($1::bytea[], $2::text[], $3::text[], $4::text[], \
                       $5::bigint[], $6::bigint[], $7::bigint[], $8::text[]) as x(d, z, t, o, c, s, m, g) \
                     on conflict (digest) do nothing",
                )
                .bind(&digests)
                .bind(texts(|row| row.zone_id.as_deref()))
                .bind(texts(|row| row.template_id.as_deref()))
                .bind(texts(|row| row.os_type_id.as_deref()))
                .bind(numbers(|row| row.cpu_number))
                .bind(numbers(|row| row.cpu_speed))
                .bind(numbers(|row| row.memory_mib))
                .bind(texts(|row| row.tags.as_deref()))
                .execute(&mut **conn)
                .await?;
                take(
                    sqlx::query_as::<_, (Vec<u8>, i64)>(
                        "select digest, id from usage_attributes where digest = any($1)",
                    )
                    .bind(&digests)
                    .fetch_all(&mut **conn)
                    .await?,
                );
            }
        }
    }
    Ok(found)
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

/// A daily sum of usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewSum {
    /// The account that pays.
    pub account_id: i64,
    /// The billing day.
    pub day: i64,
    /// The place within the day.
    pub line: i64,
    /// The project, where it is a project's.
    pub project_id: Option<i64>,
    /// CloudStack's usage type.
    pub usage_type: i64,
    /// Number of the resource.
    pub resource_id: i64,
    /// Number of the offering.
    pub offering_id: Option<i64>,
    /// Number of the attributes.
    pub attributes_id: Option<i64>,
    /// Bytes held.
    pub size_bytes: Option<i64>,
    /// Charged records that touch the day.
    pub records: i64,
    /// Of them, those that end on it.
    pub ended: i64,
    /// What was charged.
    pub quantity: i64,
}

/// Stores daily sums; none may be there already.
pub async fn insert_sums(tx: &mut Tx, rows: &[NewSum]) -> Result<(), StoreError> {
    for chunk in rows.chunks(ROWS_PER_STATEMENT) {
        match tx {
            Tx::Sqlite(conn) => {
                let json: Vec<serde_json::Value> = chunk
                    .iter()
                    .map(|row| {
                        serde_json::json!([
                            row.account_id,
                            row.day,
                            row.line,
                            row.project_id,
                            row.usage_type,
                            row.resource_id,
                            row.offering_id,
                            row.attributes_id,
                            row.size_bytes,
                            row.records,
                            row.ended,
                            row.quantity
                        ])
                    })
                    .collect();
                sqlx::query(
                    "insert into usage_daily (account_id, day, line, project_id, usage_type, resource_id, offering_id, \
                       attributes_id, size_bytes, records, ended, quantity) \
                     select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, \
                       value ->> 7, value ->> 8, value ->> 9, value ->> 10, value ->> 11 from json_each($1)",
                )
                .bind(serde_json::Value::Array(json).to_string())
                .execute(&mut **conn)
                .await?;
            }
            Tx::Postgres(conn) => {
                let column = |get: fn(&NewSum) -> i64| chunk.iter().map(get).collect::<Vec<i64>>();
                let optional = |get: fn(&NewSum) -> Option<i64>| chunk.iter().map(get).collect::<Vec<Option<i64>>>();
                sqlx::query(
                    "insert into usage_daily (account_id, day, line, project_id, usage_type, resource_id, offering_id, \
                       attributes_id, size_bytes, records, ended, quantity) \
                     select a, d, l, p, t, r, o, i, b, n, e, q from unnest($1::bigint[], $2::bigint[], $3::bigint[], \
                       $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], \
                       $11::bigint[], $12::bigint[]) as x(a, d, l, p, t, r, o, i, b, n, e, q)",
                )
                .bind(column(|row| row.account_id))
                .bind(column(|row| row.day))
                .bind(column(|row| row.line))
                .bind(optional(|row| row.project_id))
                .bind(column(|row| row.usage_type))
                .bind(column(|row| row.resource_id))
                .bind(optional(|row| row.offering_id))
                .bind(optional(|row| row.attributes_id))
                .bind(optional(|row| row.size_bytes))
                .bind(column(|row| row.records))
                .bind(column(|row| row.ended))
                .bind(column(|row| row.quantity))
                .execute(&mut **conn)
                .await?;
            }
        }
    }
    Ok(())
}
