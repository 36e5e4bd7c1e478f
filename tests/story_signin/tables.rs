//! Mappings, rules and confirmed addresses as CSV: out, in, and what is wrong line by line.

use bursar::{
    people::csv,
    store::{mapping as rows, runs},
    time::Clock as _,
};

use super::*;
use crate::harness::on_each_database;

impl Place {
    fn issuers(&self) -> Vec<(String, String)> {
        vec![("corp".to_owned(), self.corp.issuer.clone()), ("public".to_owned(), self.public.issuer.clone())]
    }

    async fn export(&self) -> String {
        let mut tx = self.cloud.app.store.read().await.unwrap();
        csv::export(&mut tx, &self.issuers()).await.unwrap()
    }

    async fn import(&self, text: &str, keep: bool) -> Result<csv::Taken, csv::Error> {
        let mut tx = self.cloud.app.store.begin().await.unwrap();
        let taken = csv::import(&mut tx, text, &self.issuers(), "test", self.cloud.clock.now()).await?;
        if keep {
            tx.commit().await.unwrap();
        }
        Ok(taken)
    }
}

#[tokio::test]
async fn what_goes_out_comes_in_again_as_the_same() {
    on_each_database(|database| async {
        let place = Place::open(database).await;
        let user = place.user("bob").await;
        let table = format!(
            "kind,issuer,who,account,account_id,role,user\n\
             person,corp,ann,ROOT/alice,,finance,\n\
             person,corp,=1+1,bob,,viewer,\n\
             person,{},\"x, \"\"y\"\"\",ROOT/bob,,owner,{user}\n\
             person,cloudstack,{user},ROOT/alice,,viewer,\n\
             email,corp,Desk@Corp.example.com,ROOT/alice,,owner,\n\
             address,,bob@example.com,ROOT/bob,,,{user}\n",
            place.public.issuer
        );
        let tried = place.import(&table, false).await.unwrap();
        assert_eq!((tried.changed.len(), tried.same), (6, 0));
        assert_eq!(tried.changed[0], "line 2: ann is finance of ROOT/alice");
        assert_eq!(place.export().await.lines().count(), 1, "only tried");
        assert_eq!(place.import(&table, true).await.unwrap().changed.len(), 6);
        let out = place.export().await;
        assert!(out.contains("person,corp,'=1+1,ROOT/bob,"), "no formula for a spreadsheet: {out}");
        assert_eq!(place.import(&out, true).await.unwrap(), csv::Taken { changed: Vec::new(), same: 6 });
        assert_eq!(place.export().await, out);
        assert_eq!(place.signs_in("corp", Person::new("=1+1", "x@corp.example.com")).await.1.status, 200);
        let mut tx = place.cloud.app.store.read().await.unwrap();
        let audit = runs::list_audit(&mut tx, None, 50).await.unwrap();
        assert_eq!(audit.iter().filter(|line| line.action == "user.map" && line.actor == "test").count(), 4);
    })
    .await;
}

#[tokio::test]
async fn a_table_with_wrong_lines_changes_nothing_and_each_is_told() {
    on_each_database(|database| async {
        let place = Place::open(database).await;
        let alice = place.cloud.account("alice").await.cloud_id;
        let table = format!(
            "kind,issuer,who,account,account_id,role,user\n\
             person,corp,good,ROOT/alice,{alice},viewer,\n\
             person,nowhere,a,ROOT/alice,,viewer,\n\
             person,corp,b,ROOT/nobody,,viewer,\n\
             person,corp,c,ROOT/alice,,boss,\n\
             email,corp,no address,ROOT/alice,,viewer,\n\
             email,corp,d@corp.example.com,ROOT/alice,,cloud-admin,\n\
             email,cloudstack,e@corp.example.com,ROOT/alice,,viewer,\n\
             thing,corp,f,ROOT/alice,,viewer,\n\
             person,corp,g,ROOT/bob,{alice},viewer,\n\
             person,corp,h,ROOT/alice,,viewer,{alice}\n\
             address,,i@corp.example.com,ROOT/alice,,,x\n\
             person,cloudstack,not-a-user,ROOT/alice,,viewer,\n"
        );
        let told = place.import(&table, true).await.unwrap_err().to_string();
        for (number, says) in [
            (3, "there is no issuer \"nowhere\""),
            (4, "no account is called"),
            (5, "\"boss\" is no role"),
            (6, "an address is"),
            (7, "owner, finance, viewer"),
            (8, "CloudStack's own field"),
            (9, "\"thing\" is no kind"),
            (10, "another account by now"),
            (11, "has no user with the id"),
            (12, "has no user with the id"),
            (13, "has no user with the id"),
        ] {
            let line = told.lines().find(|line| line.trim().starts_with(&format!("line {number}: ")));
            assert!(line.is_some_and(|line| line.contains(says)), "line {number}, {says}: {told}");
        }
        assert!(!told.contains("line 2:"), "{told}");
        let mut tx = place.cloud.app.store.read().await.unwrap();
        assert!(rows::list_bindings(&mut tx, None).await.unwrap().is_empty(), "all or nothing");
        drop(tx);
        // A mapping is not carried over by a name to another account.
        let id: CloudId = alice.parse().unwrap();
        let now = place.cloud.clock.now();
        place.cloud.standin.with(|world| {
            world.remove_account(id, now);
            tenant(world, "alice");
        });
        place.meet().await;
        let old = format!("kind,issuer,who,account,account_id,role\nperson,corp,a,ROOT/alice,{alice},viewer\n");
        let told = place.import(&old, true).await;
        assert!(told.unwrap_err().to_string().contains("line 2: ROOT/alice is another account by now"));
    })
    .await;
}
