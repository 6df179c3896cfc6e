//! What have computers told about themselves? One function per report; what is told twice is there once.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::{Result, Tx, package, run};
use crate::domain::report::{
    Anew, ComputerInfo, Distribution, Members, Mount, Processes, Processor, Users,
};

/// Begins anew: of what a computer tells only as it changes, what was known is void. What is told whole
/// each time replaces what was known by itself, and samples are history.
///
/// # Errors
///
/// The database's.
pub async fn forget(tx: &Tx<'_>, computer: i64, anew: &Anew) -> Result<()> {
    if anew.tells("package") {
        package::forget(tx, computer).await?;
    }
    let statements: [(&str, &str); 5] = [
        ("users", "delete from system_user where computer_id = $1"),
        ("users", "delete from system_group where computer_id = $1"),
        (
            "users",
            "delete from system_group_member where computer_id = $1",
        ),
        ("disk", "delete from mount where computer_id = $1"),
        // Who has no annotations any more tells none.
        (
            "computer",
            "delete from computer_annotation where computer_id = $1 and told_by_agent",
        ),
    ];
    for (scope, sql) in statements {
        if anew.tells(scope) {
            run(tx, sql, &[&computer]).await?;
        }
    }
    Ok(())
}

/// Names and sizes; what is not told stays.
///
/// # Errors
///
/// The database's.
pub async fn computer_info(tx: &Tx<'_>, computer: i64, info: &ComputerInfo) -> Result<()> {
    let sql = "update computer set hostname = coalesce($2, hostname), \
               total_memory_mib = coalesce($3, total_memory_mib), \
               total_swap_mib = coalesce($4, total_swap_mib), \
               machine_id = coalesce($5, machine_id) where id = $1";
    run(
        tx,
        sql,
        &[
            &computer,
            &info.hostname,
            &info.total_memory_mib,
            &info.total_swap_mib,
            &info.machine_id,
        ],
    )
    .await?;
    let Some(annotations) = &info.annotations else {
        return Ok(());
    };
    let names: Vec<&str> = annotations.keys().map(String::as_str).collect();
    let values: Vec<&str> = annotations.values().map(String::as_str).collect();
    let sql = "delete from computer_annotation \
               where computer_id = $1 and told_by_agent and name <> all($2)";
    run(tx, sql, &[&computer, &names]).await?;
    let sql = "insert into computer_annotation (computer_id, name, value, told_by_agent) \
               select $1, name, value, true from unnest($2::text[], $3::text[]) as told (name, value) \
               on conflict (computer_id, name) do update set value = excluded.value \
               where computer_annotation.told_by_agent";
    run(tx, sql, &[&computer, &names, &values]).await?;
    Ok(())
}

/// The operating system: all that is known of it.
///
/// # Errors
///
/// The database's.
pub async fn distribution(tx: &Tx<'_>, computer: i64, told: &Distribution) -> Result<()> {
    let sql = "update computer set distributor = $2, distribution = $3, release = $4, \
               code_name = $5 where id = $1";
    run(
        tx,
        sql,
        &[
            &computer,
            &told.distributor,
            &told.description,
            &told.release,
            &told.code_name,
        ],
    )
    .await?;
    Ok(())
}

/// These processors and no others.
///
/// # Errors
///
/// The database's.
pub async fn processors(
    tx: &Tx<'_>,
    computer: i64,
    processors: &BTreeMap<i64, Processor>,
) -> Result<()> {
    let numbers: Vec<i64> = processors.keys().copied().collect();
    let models: Vec<&str> = processors.values().map(|one| one.model.as_str()).collect();
    let vendors: Vec<Option<&str>> = processors
        .values()
        .map(|one| one.vendor.as_deref())
        .collect();
    let caches: Vec<Option<i64>> = processors.values().map(|one| one.cache_kib).collect();
    run(
        tx,
        "delete from processor where computer_id = $1",
        &[&computer],
    )
    .await?;
    let sql = "insert into processor select $1, * \
               from unnest($2::bigint[], $3::text[], $4::text[], $5::bigint[])";
    run(tx, sql, &[&computer, &numbers, &models, &vendors, &caches]).await?;
    Ok(())
}

/// Adds samples of free memory.
///
/// # Errors
///
/// The database's.
pub async fn memory(
    tx: &Tx<'_>,
    computer: i64,
    samples: &BTreeMap<SystemTime, (i64, i64)>,
) -> Result<()> {
    let times: Vec<SystemTime> = samples.keys().copied().collect();
    let (free, swap): (Vec<i64>, Vec<i64>) = samples.values().copied().unzip();
    let sql = "insert into memory_sample select $1, * \
               from unnest($2::timestamptz[], $3::bigint[], $4::bigint[]) \
               on conflict (computer_id, at) \
               do update set free_mib = excluded.free_mib, free_swap_mib = excluded.free_swap_mib";
    run(tx, sql, &[&computer, &times, &free, &swap]).await?;
    Ok(())
}

/// Adds samples of load.
///
/// # Errors
///
/// The database's.
pub async fn load(tx: &Tx<'_>, computer: i64, samples: &BTreeMap<SystemTime, f64>) -> Result<()> {
    let (times, loads): (Vec<SystemTime>, Vec<f64>) =
        samples.iter().map(|(at, load)| (*at, *load)).unzip();
    let sql = "insert into load_sample select $1, * \
               from unnest($2::timestamptz[], $3::double precision[]) \
               on conflict (computer_id, at) do update set load = excluded.load";
    run(tx, sql, &[&computer, &times, &loads]).await?;
    Ok(())
}

/// File systems, new and changed.
///
/// # Errors
///
/// The database's.
pub async fn mounts(tx: &Tx<'_>, computer: i64, mounts: &BTreeMap<String, Mount>) -> Result<()> {
    for (point, mount) in mounts {
        let sql = "insert into mount values ($1, $2, $3, $4, $5, $6) \
                   on conflict (computer_id, mount_point) do update set \
                   device = excluded.device, filesystem = excluded.filesystem, \
                   total_mib = excluded.total_mib, reported_at = excluded.reported_at";
        run(
            tx,
            sql,
            &[
                &computer,
                point,
                &mount.device,
                &mount.filesystem,
                &mount.total_mib,
                &mount.reported_at,
            ],
        )
        .await?;
    }
    Ok(())
}

/// Adds samples of free space.
///
/// # Errors
///
/// The database's.
pub async fn free_space(
    tx: &Tx<'_>,
    computer: i64,
    samples: &BTreeMap<(String, SystemTime), i64>,
) -> Result<()> {
    let points: Vec<&str> = samples.keys().map(|(point, _)| point.as_str()).collect();
    let times: Vec<SystemTime> = samples.keys().map(|(_, at)| *at).collect();
    let free: Vec<i64> = samples.values().copied().collect();
    let sql = "insert into free_space_sample select $1, * \
               from unnest($2::text[], $3::timestamptz[], $4::bigint[]) \
               on conflict (computer_id, mount_point, at) \
               do update set free_mib = excluded.free_mib";
    run(tx, sql, &[&computer, &points, &times, &free]).await?;
    Ok(())
}

/// What changed among the processes.
///
/// # Errors
///
/// The database's.
pub async fn processes(tx: &Tx<'_>, computer: i64, told: &Processes) -> Result<()> {
    let sql = "delete from process where computer_id = $1 and ($2 or pid = any($3))";
    run(tx, sql, &[&computer, &told.kill_all, &told.kill]).await?;
    for (pid, process) in &told.put {
        let sql = "insert into process values ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
                   on conflict (computer_id, pid) do update set name = excluded.name, \
                   state = excluded.state, uid = excluded.uid, gid = excluded.gid, \
                   started_at = excluded.started_at, vm_kib = excluded.vm_kib, \
                   percent_cpu = excluded.percent_cpu";
        run(
            tx,
            sql,
            &[
                &computer,
                pid,
                &process.name,
                &process.state,
                &process.uid,
                &process.gid,
                &process.started_at,
                &process.vm_kib,
                &process.percent_cpu,
            ],
        )
        .await?;
    }
    Ok(())
}

/// What changed among users and groups.
///
/// # Errors
///
/// The database's.
pub async fn users(tx: &Tx<'_>, computer: i64, told: &Users) -> Result<()> {
    delete_users(tx, computer, told).await?;
    for (username, user) in &told.put_users {
        let sql = "insert into system_user (computer_id, username, uid, name, enabled, location, \
                       home_phone, work_phone, primary_group, primary_gid) \
                   values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
                   on conflict (computer_id, username) do update set uid = excluded.uid, \
                   name = excluded.name, enabled = excluded.enabled, \
                   location = excluded.location, home_phone = excluded.home_phone, \
                   work_phone = excluded.work_phone, primary_group = excluded.primary_group, \
                   primary_gid = excluded.primary_gid";
        run(
            tx,
            sql,
            &[
                &computer,
                username,
                &user.uid,
                &user.name,
                &user.enabled,
                &user.location,
                &user.home_phone,
                &user.work_phone,
                &user.primary_group,
                &user.primary_gid,
            ],
        )
        .await?;
    }
    let names: Vec<&str> = told.put_groups.keys().map(String::as_str).collect();
    let numbers: Vec<i64> = told.put_groups.values().copied().collect();
    let sql = "insert into system_group select $1, * from unnest($2::text[], $3::bigint[]) \
               on conflict (computer_id, name) do update set gid = excluded.gid";
    run(tx, sql, &[&computer, &names, &numbers]).await?;
    let (groups, places, members) = columns(&told.put_members);
    let sql = format!(
        "insert into system_group_member select $1, group_name, username from {MEMBERS} \
         on conflict do nothing"
    );
    run(tx, &sql, &[&computer, &groups, &places, &members]).await?;
    Ok(())
}

async fn delete_users(tx: &Tx<'_>, computer: i64, told: &Users) -> Result<()> {
    let (groups, places, members) = columns(&told.delete_members);
    let sql = format!(
        "delete from system_group_member as member using (select * from {MEMBERS}) as gone \
         where computer_id = $1 and member.group_name = gone.group_name \
             and member.username = gone.username"
    );
    run(tx, &sql, &[&computer, &groups, &places, &members]).await?;
    let sql = "delete from system_group_member where computer_id = $1 \
               and (group_name = any($2) or username = any($3))";
    run(
        tx,
        sql,
        &[&computer, &told.delete_groups, &told.delete_users],
    )
    .await?;
    let sql = "delete from system_group where computer_id = $1 and name = any($2)";
    run(tx, sql, &[&computer, &told.delete_groups]).await?;
    let sql = "delete from system_user where computer_id = $1 and username = any($2)";
    run(tx, sql, &[&computer, &told.delete_users]).await?;
    Ok(())
}

/// The rows of [`columns`]: the name of a group goes to the database once, however many members it has.
const MEMBERS: &str = "unnest($2::text[]) with ordinality as named (group_name, place) \
     join unnest($3::bigint[], $4::text[]) as member_of (place, username) using (place)";

/// Groups, and for each member the place of its group, from 1, and its name.
fn columns(members: &Members) -> (Vec<&str>, Vec<i64>, Vec<&str>) {
    let groups = members.keys().map(String::as_str).collect();
    let all = (1..).zip(members.values());
    let all = all.flat_map(|(place, users)| users.iter().map(move |user| (place, user.as_str())));
    let (places, users) = all.unzip();
    (groups, places, users)
}

/// JSON about the subscription.
///
/// # Errors
///
/// The database's.
pub async fn ubuntu_pro(tx: &Tx<'_>, computer: i64, json: &str) -> Result<()> {
    let sql = "update computer set ubuntu_pro_info = $2 where id = $1";
    run(tx, sql, &[&computer, &json]).await?;
    Ok(())
}

/// What it is made of.
///
/// # Errors
///
/// The database's.
pub async fn hardware(tx: &Tx<'_>, computer: i64, xml: &str) -> Result<()> {
    let sql = "update computer set hardware_info = $2 where id = $1";
    run(tx, sql, &[&computer, &xml]).await?;
    Ok(())
}

/// Does it wait for a restart, and for which packages? What is not told stays.
///
/// # Errors
///
/// The database's.
pub async fn reboot_required(
    tx: &Tx<'_>,
    computer: i64,
    flag: Option<bool>,
    packages: Option<&[String]>,
) -> Result<()> {
    let sql = "update computer set reboot_required = coalesce($2, reboot_required) where id = $1";
    run(tx, sql, &[&computer, &flag]).await?;
    let Some(packages) = packages else {
        return Ok(());
    };
    let sql = "delete from reboot_package where computer_id = $1 and name <> all($2)";
    run(tx, sql, &[&computer, &packages]).await?;
    let sql = "insert into reboot_package select $1, unnest($2::text[]) on conflict do nothing";
    run(tx, sql, &[&computer, &packages]).await?;
    Ok(())
}
