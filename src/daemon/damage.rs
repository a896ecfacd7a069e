//! What a service does at its start with a database that is damaged, or that an earlier process has marked as such: the file is
//! set aside and a new one begun. Owns who may; refuses to know how.
//!
//! Whoever does it holds both roles, so that no service has the file open. In the split form the other half is asked to end,
//! and its service manager starts it anew. Where both begin at once the door's half goes first: it waits for the other's role,
//! and the worker's half does not wait for the door's.

use std::{path::Path, sync::Arc};

use super::Roles;
use crate::{
    config::Settings,
    store::{self, Role, RoleLock, Store, StoreError, StoreThreads},
    time::Clock,
    work::control::{self, Request},
};

/// Each waits half a second: as long as an orderly stop may take, and more.
const DOOR_TRIES: u32 = 24;

/// Opens the database, after a damaged one was set aside.
pub(super) fn open(
    settings: &Settings,
    roles: Roles,
    clock: &Arc<dyn Clock>,
) -> Result<(Store, StoreThreads), StoreError> {
    let path = &settings.store.path;
    let serve = || Store::serve(path, settings.store.free_bytes_min, clock.clone());
    let damage = match serve() {
        Err(damage) if damage.is_damage() => damage,
        opened => return opened,
    };
    log::error!("{damage}");
    store::mark(path, clock.wall())?;
    let _other_half = match roles {
        Roles::All => None,
        Roles::Receive => Some(take_over(path, Role::Work, DOOR_TRIES)?),
        Roles::Work => Some(take_over(path, Role::Receive, 1)?),
    };
    let aside = store::set_aside(path, clock.wall())?;
    log::error!(
        "the damaged database is kept as {aside}, and a new one is begun; `hookbell deliveries import {aside}` brings back \
         what can be read",
        aside = aside.display()
    );
    serve()
}

/// Asks the other half to end, and takes its role.
fn take_over(database: &Path, role: Role, tries: u32) -> Result<RoleLock, StoreError> {
    let asked = match role {
        Role::Receive => control::ask_door(database, &Request::MakeWay),
        _ => control::ask(database, &Request::MakeWay),
    };
    if let Err(error) = asked {
        log::warn!("cannot ask the process that does `{role}` to end: {error}");
    }
    let mut taken = RoleLock::take(database, role);
    for _ in 1..tries {
        match taken {
            Err(StoreError::Held { .. }) => taken = RoleLock::take(database, role),
            taken => return taken,
        }
    }
    taken
}
