//! What network do computers have, and what had they before?

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::SystemTime;

use super::{Result, Tx, outbox, rows, run};
use crate::domain::event::Topic;
use crate::domain::network::{Interface, Traffic};

/// Replaces the interfaces of a computer by those of a report made at `at`. What changed or is gone
/// goes into the history; what stayed as it was keeps its date.
///
/// # Errors
///
/// The database's.
pub async fn replace_interfaces(
    tx: &Tx<'_>,
    computer: i64,
    interfaces: &[Interface],
    at: SystemTime,
) -> Result<()> {
    fn named(all: &[Interface]) -> BTreeMap<&str, &Interface> {
        all.iter().map(|one| (one.name.as_str(), one)).collect()
    }
    let known = interfaces_of(tx, computer).await?;
    let (known, told) = (named(&known), named(interfaces));
    if known == told {
        return Ok(());
    }
    outbox::put_of(tx, Topic::InterfacesChanged, computer).await?;
    for (name, old) in &known {
        let new = told.get(name);
        if new == Some(old) {
            continue;
        }
        // A clock that went back must not turn a span of time around.
        let sql = "insert into network_interface_history (computer_id, name, ip_address, \
                       mac_address, broadcast_address, netmask, flags, speed, full_duplex, since, \
                       until, gone) \
                   select computer_id, name, ip_address, mac_address, broadcast_address, netmask, \
                       flags, speed, full_duplex, since, greatest(since, $3), $4 \
                   from network_interface where computer_id = $1 and name = $2";
        run(tx, sql, &[&computer, &old.name, &at, &new.is_none()]).await?;
        let sql = "delete from network_interface where computer_id = $1 and name = $2";
        run(tx, sql, &[&computer, &old.name]).await?;
    }
    for (name, new) in &told {
        if known.get(name) == Some(new) {
            continue;
        }
        let sql = "insert into network_interface (computer_id, name, ip_address, mac_address, \
                       broadcast_address, netmask, flags, speed, full_duplex, since) \
                   values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
        run(
            tx,
            sql,
            &[
                &computer,
                &new.name,
                &new.ip_address,
                &new.mac_address,
                &new.broadcast_address,
                &new.netmask,
                &new.flags,
                &new.speed,
                &new.full_duplex,
                &at,
            ],
        )
        .await?;
    }
    Ok(())
}

async fn interfaces_of(tx: &Tx<'_>, computer: i64) -> Result<Vec<Interface>> {
    let sql = "select name, ip_address, mac_address, broadcast_address, netmask, flags, speed, \
               full_duplex from network_interface where computer_id = $1 order by name";
    let mut interfaces = Vec::new();
    for row in rows(tx, sql, &[&computer]).await? {
        interfaces.push(Interface {
            name: row.try_get(0)?,
            ip_address: row.try_get::<_, Option<IpAddr>>(1)?,
            mac_address: row.try_get(2)?,
            broadcast_address: row.try_get(3)?,
            netmask: row.try_get(4)?,
            flags: row.try_get(5)?,
            speed: row.try_get(6)?,
            full_duplex: row.try_get(7)?,
        });
    }
    Ok(interfaces)
}

/// Adds steps of traffic. A step that is told again takes the place of the one told before.
///
/// # Errors
///
/// The database's.
pub async fn add_traffic(tx: &Tx<'_>, computer: i64, traffic: &Traffic) -> Result<()> {
    let names: Vec<&str> = traffic.keys().map(String::as_str).collect();
    let (mut places, mut times) = (Vec::new(), Vec::new());
    let (mut received, mut sent) = (Vec::new(), Vec::new());
    for (place, steps) in (1_i64..).zip(traffic.values()) {
        for (at, bytes) in steps {
            places.push(place);
            times.push(*at);
            received.push(bytes.0);
            sent.push(bytes.1);
        }
    }
    // A name goes to the database once, however many steps there are.
    let sql = "insert into network_traffic (computer_id, interface, at, received, sent) \
               select $1, name, at, received, sent \
               from unnest($2::text[]) with ordinality as named (name, place) \
               join unnest($3::bigint[], $4::timestamptz[], $5::bigint[], $6::bigint[]) \
                   as step (place, at, received, sent) using (place) \
               on conflict (computer_id, interface, at) \
               do update set received = excluded.received, sent = excluded.sent";
    let values: super::Values<'_> = &[&computer, &names, &places, &times, &received, &sent];
    run(tx, sql, values).await?;
    Ok(())
}
