//! What people do in a tick: tenants with their machines, administrators by hand, and whoever books money.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Error,
    book::{self, Gift},
    life::Life,
    setup::{Kind, Tenant, machine_sizes},
    watch::ByHand,
};
use crate::{
    ids::{CloudId, PayerId},
    jobs::App,
    ledger::{
        grants::{self, Terms},
        post::{self, Cause},
    },
    money::Money,
    standin::{Power, State, Stubbornness},
    store::{StoreError, Tx, cloud, crash::CrashPoints, crash::with_crash_points},
    time::{Clock as _, Timestamp},
};

/// Days of which the dearest may be asked for before an account is opened.
const DEAR_DAYS: Duration = Duration::from_hours(10 * 24);
/// Machines of one tenant at most: a small cloud is fast.
const MOST_MACHINES: usize = 6;

impl Life {
    /// Tenants make, start, stop, resize and destroy machines. Who is suspended, or just restored, rests.
    pub(super) fn tenants_act(&mut self) {
        for tenant in self.tenants.clone() {
            if self.watch.is_busy(tenant.id) || !self.dice.chance(350) {
                continue;
            }
            let enabled = self.cloud.standin.with(|world| world.account_state(tenant.id) == Some(State::Enabled));
            if enabled {
                self.tenant_acts(&tenant);
            }
        }
    }

    fn tenant_acts(&mut self, tenant: &Tenant) {
        let dice = &self.dice;
        let owners = tenant.owners();
        let Some(owner) = dice.pick(&owners).copied() else { return };
        let what = dice.below(8);
        let back = Duration::from_secs(dice.below(40) * 3_600);
        let late = self.cloud.standin.with(|world| {
            let now = world.now();
            let machines = world.machines_of(owner);
            let machine = dice.pick(&machines).copied();
            let sizes = machine_sizes(world);
            match (what, machine) {
                (0 | 1, _) if machines.len() < MOST_MACHINES => {
                    if let Some(size) = dice.pick(&sizes) {
                        world.deploy_vm(owner, &format!("vm{}", dice.below(100_000)), *size, now);
                    }
                }
                (2, Some(machine)) => world.stop_vm(machine, now),
                (3, Some(machine)) => world.start_vm(machine, now),
                (4, Some(machine)) => {
                    if let Some(size) = dice.pick(&sizes) {
                        world.resize_vm(machine, *size, now);
                    }
                }
                (5, Some(machine)) if machines.len() > 1 => world.destroy_vm(machine, now),
                (6, _) => {
                    if let Some(offering) = world.find_disk_offering("Custom") {
                        world.add_volume(owner, "data", offering, dice.between(1, 200), now);
                    }
                }
                // A stop that the usage server hears of late: what was reported since is reported again.
                (7, Some(machine)) if self.lot.late && world.vm_power(machine) == Some(Power::Running) => {
                    let created = world.vms.get(machine).map_or(now, |vm| vm.updated);
                    let at = now.minus(back).max(created);
                    world.stop_vm(machine, at);
                    return now.since(at);
                }
                _ => {}
            }
            Duration::ZERO
        });
        if !late.is_zero() {
            // A machine's hour is the dearest part; what was reported too much may be believed until it is settled.
            let hours = i64::try_from(late.as_secs() / 3_600 + 1).unwrap_or(0);
            let purse = self.purses.entry(tenant.id).or_default();
            purse.doubt += hours * 120_000 * (100 + self.lot.tax_percent) / 100;
            self.cloud.tell(format!("{}: a machine stopped {} h ago", tenant.name, hours - 1));
        }
    }

    /// Machines of those who are locked, and may be stopped next, do not obey now and then.
    pub(super) fn machines_of_the_locked_balk(&mut self) {
        for tenant in self.tenants.clone() {
            if self.state_of(tenant.id) == Some(State::Locked) && self.dice.chance(600) {
                self.machines_balk(&tenant);
            }
        }
    }

    /// An administrator does something in CloudStack, with or without a trace in its events. What is changed of a limit while bursar's call
    /// about it is on its way nobody can see: CloudStack has no way to set one only where it is as it was.
    pub(super) fn administrators_act(&mut self, meanwhile: bool) {
        let tenants: Vec<Tenant> = self.tenants.iter().filter(|tenant| tenant.kind == Kind::Tenant).cloned().collect();
        let Some(tenant) = self.dice.pick(&tenants).cloned() else { return };
        let Some(state) = self.state_of(tenant.id) else { return };
        let what = self.dice.below(12);
        let (said, by_hand) = self.cloud.standin.with(|world| match (what, state) {
            (0 | 1, _) => {
                world.lock_by_admin(tenant.id);
                ("locks", Some(ByHand::Suspends))
            }
            (2, _) => {
                world.disable_by_admin(tenant.id);
                ("disables", Some(ByHand::Suspends))
            }
            (3, State::Enabled) => {
                world.set_account_state(tenant.id, State::Locked);
                ("locks silently", Some(ByHand::SuspendsSilently))
            }
            (4..=7, State::Locked | State::Disabled) => {
                world.enable_by_admin(tenant.id);
                ("enables", Some(ByHand::Enables))
            }
            (8, _) if self.dice.chance(100) => {
                let now = world.now();
                world.remove_account(tenant.id, now);
                for (project, _) in &tenant.projects {
                    for machine in world.machines_of(*project) {
                        world.destroy_vm(machine, now);
                    }
                }
                ("removes", Some(ByHand::Removes))
            }
            // A machine that bursar stopped does not come back.
            (9, State::Disabled) if self.watch.is_busy(tenant.id) => {
                let stopped: Vec<CloudId> = world
                    .machines_of(tenant.id)
                    .into_iter()
                    .filter(|machine| world.vm_power(*machine) == Some(Power::Stopped))
                    .collect();
                if let Some(machine) = self.dice.pick(&stopped) {
                    let now = world.now();
                    world.destroy_vm(*machine, now);
                }
                ("destroys a stopped machine of", None)
            }
            _ => ("leaves alone", None),
        });
        if let Some(what) = by_hand {
            self.cloud.tell(format!("an administrator {said} {}", tenant.name));
            self.watch.by_hand(tenant.id, what, state, self.cloud.time.now());
        }
        if what == 9 && !meanwhile && !self.watch.is_busy(tenant.id) {
            let most = i64::try_from(self.dice.between(3, 40)).unwrap_or(20);
            self.cloud.standin.with(|world| world.set_limit(tenant.id, 0, most));
        }
        if what >= 10 {
            self.machines_balk(&tenant);
        }
    }

    /// Machines that do not stop, or are on their way elsewhere.
    fn machines_balk(&mut self, tenant: &Tenant) {
        let dice = &self.dice;
        self.cloud.standin.with(|world| {
            let machines: Vec<CloudId> =
                tenant.owners().into_iter().flat_map(|owner| world.machines_of(owner)).collect();
            let Some(machine) = dice.pick(&machines).copied() else { return };
            match dice.below(5) {
                0 => world.set_stubbornness(machine, Stubbornness::KeepsRunning),
                1 => world.set_stubbornness(machine, Stubbornness::Throws),
                2 => world.set_stubbornness(machine, Stubbornness::Obedient),
                3 => world.set_stubbornness(machine, Stubbornness::HangsStopping),
                _ => world.set_passing_power(machine, Power::Migrating),
            }
        });
    }

    /// The state of an account that is still there.
    pub(super) fn state_of(&self, account: CloudId) -> Option<State> {
        self.cloud.standin.with(|world| match world.is_removed(account) {
            Some(false) => world.account_state(account),
            _ => None,
        })
    }

    /// Payments, limits and grants are booked, by whichever process is at hand; it may die of it, and then it is done again.
    pub(super) async fn money_is_booked(&mut self) -> Result<(), Error> {
        let known = self.payers().await?;
        for tenant in self.tenants.clone() {
            let Some(payer) = known.get(&tenant.id).copied() else { continue };
            let has_limit = self.purses.get(&tenant.id).is_some_and(|purse| purse.limit.is_some());
            // Whoever was taken down mostly pays: restores have to be as frequent as what they undo.
            // Not too soon, or nobody would ever be stopped.
            let pays = if self.state_of(tenant.id) == Some(State::Disabled) { 400 } else { 130 };
            if has_limit && self.watch.is_busy(tenant.id) && self.dice.chance(pays) {
                let sum = i64::try_from(self.dice.between(1, 40)).unwrap_or(1) * 1_000_000;
                let sum = if self.dice.chance(500) { self.sum_that_opens(&tenant) } else { sum };
                self.book(&tenant, payer, Booking::Payment(sum)).await?;
                continue;
            }
            let chance = match (has_limit, self.watch.is_busy(tenant.id)) {
                (true, true) => 60,
                (true, false) => 120,
                (false, _) => 500,
            };
            if self.dice.chance(chance) {
                let booking = self.some_booking(has_limit);
                self.book(&tenant, payer, booking).await?;
            }
        }
        Ok(())
    }

    /// What a tenant owes, a dear day, and a little more.
    fn sum_that_opens(&self, tenant: &Tenant) -> i64 {
        let now = self.cloud.time.now();
        let owners = tenant.owners();
        let (used, dearest) = self.cloud.standin.with(|world| {
            let used = book::used(world, &owners, now, self.lot.tax_percent);
            (used, book::dearest_day(world, &owners, now.minus(DEAR_DAYS), now, self.lot.tax_percent))
        });
        let credit = self.purses.get(&tenant.id).map_or(0, |purse| purse.credit(now));
        let owed = used.saturating_sub(credit).max(0);
        let more = i64::try_from(self.dice.between(1, 5)).unwrap_or(1) * 1_000_000;
        (owed.saturating_add(dearest) / 10_000 * 10_000).saturating_add(more)
    }

    fn some_booking(&self, has_limit: bool) -> Booking {
        let what = if has_limit { self.dice.below(8) } else { 0 };
        let sum = i64::try_from(self.dice.between(1, 40)).unwrap_or(1) * 1_000_000;
        let now = self.clock.now();
        match what {
            0 | 1 => Booking::Limit(Some(sum)),
            2 if self.dice.chance(300) => Booking::Limit(None),
            3 => {
                let from = now.plus(Duration::from_hours(self.dice.below(48)));
                let until =
                    self.dice.chance(500).then(|| from.plus(Duration::from_hours(24 * self.dice.between(1, 20))));
                Booking::Grant(sum, from, until)
            }
            _ => Booking::Payment(sum),
        }
    }

    async fn book(&mut self, tenant: &Tenant, payer: PayerId, booking: Booking) -> Result<(), Error> {
        let key = format!("sim-{}", self.dice.below(u64::MAX));
        let points = self.death_by_booking();
        let app = self.app();
        if with_crash_points(&points, booked(&app, payer, booking, &key)).await.transpose()?.is_none() {
            self.cloud.tell(format!("the process died while booking {booking:?} for {}", tenant.name));
            self.reborn(0).await?;
        }
        self.book_surely(tenant, payer, booking, &key).await
    }

    /// A payment or an administrator, while a process stands still in the middle of its work.
    pub(super) async fn somebody_acts_meanwhile(&mut self) -> Result<(), Error> {
        if self.dice.chance(400) {
            self.administrators_act(true);
        } else {
            let known = self.payers().await?;
            let busy: Vec<Tenant> =
                self.tenants.iter().filter(|tenant| self.watch.is_busy(tenant.id)).cloned().collect();
            let Some(tenant) = self.dice.pick(&busy).cloned() else { return Ok(()) };
            let Some(payer) = known.get(&tenant.id).copied() else { return Ok(()) };
            let (sum, key) = (self.sum_that_opens(&tenant), format!("sim-{}", self.dice.below(u64::MAX)));
            self.book_surely(&tenant, payer, Booking::Payment(sum), &key).await?;
        }
        self.note_moment_within();
        Ok(())
    }

    async fn book_surely(&mut self, tenant: &Tenant, payer: PayerId, booking: Booking, key: &str) -> Result<(), Error> {
        // A person who saw nothing come of it does it again, under the same key.
        booked(&self.app(), payer, booking, key).await?;
        let purse = self.purses.entry(tenant.id).or_default();
        match booking {
            Booking::Limit(limit) => purse.limit = limit,
            Booking::Payment(sum) => purse.paid += sum,
            Booking::Grant(amount, from, until) => purse.gifts.push(Gift { amount, from, until, revoked: false }),
        }
        self.cloud.tell(format!("{}: {booking:?}", tenant.name));
        Ok(())
    }

    fn death_by_booking(&self) -> CrashPoints {
        match self.dice.below(20) {
            0 => CrashPoints::before_commit(1),
            1 => CrashPoints::after_commit(1),
            _ => CrashPoints::default(),
        }
    }

    /// The payers that bursar knows of.
    pub(super) async fn payers(&self) -> Result<BTreeMap<CloudId, PayerId>, Error> {
        let mut tx = self.app().store.read().await.map_err(Error::broken)?;
        let accounts = cloud::list_accounts(&mut tx).await.map_err(Error::broken)?;
        tx.commit().await.map_err(Error::broken)?;
        Ok(accounts
            .into_iter()
            .filter_map(|account| Some((account.cloud_id.parse().ok()?, account.payer_id)))
            .collect())
    }
}

/// What is booked.
#[derive(Debug, Clone, Copy)]
enum Booking {
    Limit(Option<i64>),
    Payment(i64),
    Grant(i64, Timestamp, Option<Timestamp>),
}

async fn booked(app: &App, payer: PayerId, booking: Booking, key: &str) -> Result<(), Error> {
    let mut tx = app.store.begin().await.map_err(Error::broken)?;
    let done = post_booking(&mut tx, app, payer, booking, key).await;
    done.map_err(Error::broken)?;
    tx.commit().await.map_err(|error: StoreError| Error::broken(error))
}

async fn post_booking(
    tx: &mut Tx,
    app: &App,
    payer: PayerId,
    booking: Booking,
    key: &str,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let cause = Cause { key, author: "simulation", reason: "a life" };
    let defaults = (app.default_limit(), app.tax()?);
    let now = app.clock.now();
    match booking {
        Booking::Limit(limit) => {
            post::set_limit(tx, payer, limit.map(Money::from_micros), cause, defaults, now).await?;
        }
        Booking::Payment(sum) => {
            post::add_payment(tx, payer, Money::from_micros(sum), cause, defaults, now).await?;
        }
        Booking::Grant(sum, from, until) => {
            let terms = Terms { starts: from, ends: until, priority: 0, scope: None };
            grants::give(tx, payer, Money::from_micros(sum), &terms, cause, defaults, now).await?;
        }
    }
    Ok(())
}
