//! How much room records, charges and daily sums take: the figures of docs/sizes.md.

use super::*;

/// Machines of the measurement; each has six records an hour: running, allocated, disk, address, network, its share.
const MACHINES: i64 = 24;
/// Days of it, unless `BURSAR_TEST_SIZES_DAYS` says otherwise.
const DAYS: i64 = 4;
const TYPES: [i32; 6] = [1, 2, 6, 3, 13, 30];

/// Bytes in use, without what is free for new rows.
async fn bytes(cloud: &Cloud) -> i64 {
    match &cloud.app.store {
        Store::Sqlite { writer, .. } => {
            let of = async |pragma: &'static str| -> i64 {
                let sql = sqlx::AssertSqlSafe(format!("select {pragma} from pragma_{pragma}"));
                sqlx::query_scalar(sql).fetch_one(writer).await.unwrap()
            };
            (of("page_count").await - of("freelist_count").await) * of("page_size").await
        }
        Store::Postgres(pool) => {
            sqlx::query("vacuum full").execute(pool).await.unwrap();
            sqlx::query_scalar(
                "select cast(sum(pg_total_relation_size(oid)) as bigint) from pg_class \
                 where relkind = 'r' and relnamespace = 'public'::regnamespace",
            )
            .fetch_one(pool)
            .await
            .unwrap()
        }
    }
}

fn rows(number: i64) -> Vec<UsageRow> {
    let mut rows = Vec::new();
    for hour in 0..24 {
        let start = at(number * 24 + hour);
        // As the server sends them: by account, and by type within it.
        let accounts = 0..MACHINES / 4;
        for (account, usage_type) in accounts.flat_map(|account| TYPES.map(|usage_type| (account, usage_type))) {
            for machine in account * 4..account * 4 + 4 {
                rows.push(UsageRow {
                    account: Some(format!("sizes-{}", machine / 4)),
                    account_id: Some(format!("00000000-0000-4000-8000-{:012}", machine / 4)),
                    domain_id: Some("00000000-0000-4000-8000-000000000000".to_owned()),
                    domain_path: Some("ROOT".to_owned()),
                    zone_id: Some("00000000-0000-4000-a000-000000000001".to_owned()),
                    usage_type: Some(usage_type),
                    raw_usage: Some("1".to_owned()),
                    usage_id: Some(format!("00000000-0000-4000-9000-{machine:06}{usage_type:06}")),
                    virtual_machine_id: Some(format!("00000000-0000-4000-9000-{machine:012}")),
                    offering_id: Some(format!("00000000-0000-4000-b000-{usage_type:012}")),
                    description: Some(format!("Id: 00000000-0000-4000-9000-{machine:06}{usage_type:06}")),
                    size: (usage_type == 6).then_some(53_687_091_200),
                    start_date: Some(start.to_cloudstack()),
                    end_date: Some(Timestamp::from_seconds(start.as_seconds() + 3_599).to_cloudstack()),
                    ..UsageRow::default()
                });
            }
        }
    }
    rows
}

#[tokio::test]
async fn records_charges_and_sums_take_no_more_room_than_documented() {
    let days = std::env::var("BURSAR_TEST_SIZES_DAYS").map_or(DAYS, |text| text.parse().unwrap());
    on_each_database(|database| async {
        let mut cloud = with_tenants(database).await;
        let empty = bytes(&cloud).await;
        let run = cloud.begin_run().await;
        for number in 0..days {
            let spans = Spans { span: day(number).period(Tz::UTC).unwrap(), zone: Tz::UTC, advance: true };
            let downloaded = Downloaded { rows: rows(number), unreadable: 0 };
            ingest::store_span(&cloud.app.store, downloaded, spans, run, at(number * 24)).await.unwrap();
        }
        let records = story_cli::count(&cloud, "usage_record").await;
        let stored = bytes(&cloud).await;
        cloud.clock.advance(DAY * u32::try_from(days + 1).unwrap());
        cloud.reconfigure("BILLING_KEEP_RECORDS_DAYS", "400").await;
        rate(&cloud).await;
        let (charges, rated) = (story_cli::count(&cloud, "charge_day").await, bytes(&cloud).await);
        cloud.clock.advance(DAY * 400);
        while rate(&cloud).await.compacted.days > 0 {}
        cloud.verify().await;
        let (left, sums) = (story_cli::count(&cloud, "usage_record").await, story_cli::count(&cloud, "usage_daily").await);
        let compacted = bytes(&cloud).await;
        let per = |bytes: i64, rows: i64| bytes / rows;
        let record = per(stored - empty, records);
        let sum = per(compacted - (rated - (stored - empty)), sums);
        println!(
            "{}: empty {empty}; {records} records of {record} bytes; {charges} charges of {}; {left} records left, {sums} sums of {sum}",
            cloud.database.kind,
            per(rated - stored, charges),
        );
        assert_eq!((left, sums), (0, MACHINES * 6 * days));
        // A little room for pages that are not full.
        let limit = if cloud.database.url.is_some() { 230 } else { 140 };
        assert!(record <= limit, "{record} bytes a record");
        assert!((rated - compacted) * 4 > (stored - empty) * 3, "{} bytes less of {}", rated - compacted, stored - empty);
    })
    .await;
}
