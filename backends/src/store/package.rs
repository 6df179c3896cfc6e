//! Which packages are there, and which have computers?

use std::time::SystemTime;

use tokio_postgres::types::ToSql;

use super::{Result, Tx, outbox, rows, run, shown};
use crate::domain::event::Topic;
use crate::domain::package::{Hash, Ids, Package, Reported, ReporterResult};
use crate::domain::package_order::Candidate;
use crate::domain::package_search::{Answer, Computers, Counts, Found, Question};

/// The numbers of these packages, None for those that nobody has described, in their order.
///
/// # Errors
///
/// The database's.
pub async fn ids(tx: &Tx<'_>, hashes: &[Hash]) -> Result<Vec<Option<i64>>> {
    let hashes: Vec<&[u8]> = hashes.iter().map(<[u8; 20]>::as_slice).collect();
    let sql = "select id from unnest($1::bytea[]) with ordinality asked (hash, place) \
               left join package using (hash) order by place";
    let rows = rows(tx, sql, &[&hashes]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Adds what is not there yet. The numbers of all of them, in their order.
///
/// # Errors
///
/// The database's.
pub async fn add(tx: &Tx<'_>, packages: &[Package]) -> Result<Vec<Option<i64>>> {
    let hashes: Vec<Hash> = packages.iter().map(Package::hash).collect();
    // In one order everywhere, so that two agents which describe the same do not wait in a circle.
    let mut places: Vec<usize> = (0..packages.len()).collect();
    places.sort_unstable_by_key(|place| hashes.get(*place));
    for (package, hash) in places
        .into_iter()
        .filter_map(|place| packages.get(place).zip(hashes.get(place)))
    {
        let sql = "insert into package (hash, kind, name, version, section, summary, \
                       description, size, installed_size) \
                   values ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
                   on conflict (hash) do nothing returning id";
        let values: [&(dyn ToSql + Sync); 9] = [
            &hash.as_slice(),
            &package.kind,
            &package.name,
            &package.version,
            &package.section,
            &package.summary,
            &package.description,
            &package.size,
            &package.installed_size,
        ];
        let Some(row) = super::find(tx, sql, &values).await? else {
            continue;
        };
        let id: i64 = row.try_get(0)?;
        let (kinds, expressions): (Vec<i64>, Vec<&str>) = package
            .relations
            .iter()
            .map(|(kind, expression)| (*kind, expression.as_str()))
            .unzip();
        let sql = "insert into package_relation \
                   select $1, * from unnest($2::bigint[], $3::text[])";
        run(tx, sql, &[&id, &kinds, &expressions]).await?;
    }
    ids(tx, &hashes).await
}

/// What changed among the packages of a computer, told at `at`.
///
/// # Errors
///
/// The database's.
pub async fn report(tx: &Tx<'_>, computer: i64, told: &Reported, at: SystemTime) -> Result<()> {
    let sql = "insert into computer_packages (computer_id, reported_at) values ($1, $2) \
               on conflict do nothing";
    run(tx, sql, &[&computer, &at]).await?;
    let added = told.added.each_ref().map(Ids::written);
    let removed = told.removed.each_ref().map(Ids::written);
    let sql = "update computer_packages set reported_at = $2, \
                   written_by = pg_current_xact_id(), \
                   installed = installed + $3::text::int8multirange - $9::text::int8multirange, \
                   available = available + $4::text::int8multirange - $10::text::int8multirange, \
                   upgrades = upgrades + $5::text::int8multirange - $11::text::int8multirange, \
                   held = held + $6::text::int8multirange - $12::text::int8multirange, \
                   autoremovable = autoremovable + $7::text::int8multirange \
                       - $13::text::int8multirange, \
                   security = security + $8::text::int8multirange - $14::text::int8multirange \
               where computer_id = $1";
    let mut values: Vec<&(dyn ToSql + Sync)> = vec![&computer, &at];
    values.extend(
        added
            .iter()
            .chain(&removed)
            .map(|set| set as &(dyn ToSql + Sync)),
    );
    run(tx, sql, &values).await?;
    Ok(())
}

/// A computer tells all of its packages anew: what was known is void.
///
/// # Errors
///
/// The database's.
pub async fn forget(tx: &Tx<'_>, computer: i64) -> Result<()> {
    let sql = "update computer_packages set installed = '{}', available = '{}', upgrades = '{}', \
               held = '{}', autoremovable = '{}', security = '{}', \
               written_by = pg_current_xact_id() where computer_id = $1";
    run(tx, sql, &[&computer]).await?;
    Ok(())
}

/// Tells that a computer has other packages; once for all reports of an exchange, however many there were.
///
/// # Errors
///
/// The database's.
pub async fn changed(tx: &Tx<'_>, computer: i64) -> Result<()> {
    outbox::put_of(tx, Topic::PackagesChanged, computer).await
}

/// How the agent's look at its packages ended.
///
/// # Errors
///
/// The database's.
pub async fn reporter_result(
    tx: &Tx<'_>,
    computer: i64,
    told: &ReporterResult,
    at: SystemTime,
) -> Result<()> {
    let sql = "insert into package_report values ($1, $2, $3, $4) \
               on conflict (computer_id) do update set code = excluded.code, \
               error = excluded.error, reported_at = excluded.reported_at";
    run(
        tx,
        sql,
        &[&computer, &told.code, &told.error, &told.at.unwrap_or(at)],
    )
    .await?;
    Ok(())
}

/// What an order to change packages would have needed beyond what it allowed. A result that comes late or again changes
/// nothing, nor does one for an order of another kind.
///
/// # Errors
///
/// The database's.
pub async fn needs(
    tx: &Tx<'_>,
    computer: i64,
    activity: i64,
    must_install: &[i64],
    must_remove: &[i64],
) -> Result<()> {
    let sql = "insert into change_packages_result \
               select id, $3, $4 from activity where id = $1 and computer_id = $2 \
               and type = 'change-packages' and status = 'delivered' \
               on conflict (activity_id) do update set must_install = excluded.must_install, \
               must_remove = excluded.must_remove";
    run(
        tx,
        sql,
        &[&activity, &computer, &must_install, &must_remove],
    )
    .await?;
    Ok(())
}

/// A package that an order would have needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    /// To install it; else to remove it.
    pub install: bool,
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// What an order to change packages would have needed beyond what it allowed, by name.
///
/// # Errors
///
/// The database's.
pub async fn needed(tx: &Tx<'_>, activity: i64) -> Result<Vec<Needed>> {
    let sql = "select install, package.id, name, version from change_packages_result \
               cross join lateral (select true, unnest(must_install) \
                   union all select false, unnest(must_remove)) as need (install, package_id) \
               join package on package.id = package_id \
               where activity_id = $1 order by name, version, package.id";
    let mut needed = Vec::new();
    for row in rows(tx, sql, &[&activity]).await? {
        needed.push(Needed {
            install: row.try_get(0)?,
            id: row.try_get(1)?,
            name: row.try_get(2)?,
            version: row.try_get(3)?,
        });
    }
    Ok(needed)
}

/// Few computers: what they have is looked through for a name or a text.
const COMPUTERS_FEW: i64 = 10;
/// Few packages: the sets of many computers are cut down to them.
const PACKAGES_FEW: i64 = 1000;

/// Has it the name and the text that are looked for?
const NAMED: &str = "($3::text[] is null or name collate \"C\" = any($3)) \
    and ($4::text is null \
         or position(lower($4 collate \"C\") in lower(name collate \"C\")) > 0 \
         or position(lower($4 collate \"C\") in lower(summary collate \"C\")) > 0)";

/// The numbers in all these spans. Computers have the same spans again and again: of those that begin alike the longest is
/// kept, before the rest is put in order.
fn union(spans: &str) -> String {
    format!(
        "(select coalesce(range_agg(int8range(first, past)), '{{}}') as ids \
          from (select lower(span) as first, max(upper(span)) as past \
                from ({spans}) told (span) group by first) told)"
    )
}

/// Up to the packages that are looked for, `hits`.
///
/// A set of numbers is expensive to read and cheap to look into. So it is read once for what is found and once for what
/// is shown, not once for each package: what computers have somewhere is put together, and what fits is a set, too. Only
/// states that are asked for are looked at; where none says that some computer has the package, it has to be in one of the first four.
/// Names and texts are looked for first where that spares reading whole sets of many computers.
fn hits_sql() -> String {
    let offered = union(
        "select unnest(coalesce(available * (select ids from within), available)) \
         from scope where not (select so from placed)",
    );
    let beyond = union(
        "select unnest(coalesce(ids * (select ids from within), ids) - (select ids from offered)) \
         from told where state in (0, 2, 3) and not (select so from placed)",
    );
    let unwanted =
        union("select unnest(ids) from somewhere join asked using (state) where not wanted");
    // Spans and packages could be joined by comparing each with each, which the planner, who knows no sizes, prefers at times. A
    // subquery in an order of its own is carried out for each span, and an index on numbers has that order.
    format!(
        "with scope as materialized ( \
            select computer_id, installed, available, upgrades, held, security \
            from computer_packages join computer on computer.id = computer_id \
            where accepted and account_id = $1 \
              and ($2::bigint[] is null or computer_id = any($2)) \
        ), told as not materialized ( \
            select computer_id, state, ids from scope cross join lateral ( \
                values (0, installed), (1, available), (2, upgrades), (3, held), (4, security) \
            ) as told (state, ids) \
        ), asked (state, wanted) as ( \
            values (0, $5::boolean), (1, $6::boolean), (2, $7::boolean), (3, $8::boolean), \
                (4, $9::boolean) \
        ), sought_first as ( \
            select ($3::text[] is not null or $4::text is not null) \
                and (select count(*) from scope) > {COMPUTERS_FEW} as so \
        ), sought as ( \
            select coalesce(range_agg(int8range(id, id, '[]')), '{{}}') as ids \
            from (select id from package where (select so from sought_first) and {NAMED} \
                  limit {PACKAGES_FEW} + 1) named \
            having (select so from sought_first) and count(*) <= {PACKAGES_FEW} \
        ), somewhere as ( \
            select state, range_agg(int8range(first, past)) as ids \
            from (select state, lower(span) as first, max(upper(span)) as past \
                  from (select state, \
                            unnest(coalesce(ids * (select ids from sought), ids)) as span \
                        from told join asked using (state) where wanted is not null) spans \
                  group by state, first) spans \
            group by state \
        ), wanted as ( \
            select range_intersect_agg(coalesce(ids, '{{}}')) as ids \
            from asked left join somewhere using (state) where wanted \
        ), placed as ( \
            select coalesce($5 or $6 or $7 or $8, false) as so \
        ), within as ( \
            select coalesce((select ids from wanted), (select ids from sought)) as ids \
        ), offered as {offered}, beyond as {beyond}, unwanted as {unwanted}, fits as ( \
            select case when (select so from placed) then (select ids from wanted) \
                else (select ids from offered) + (select ids from beyond) end \
                - (select ids from unwanted) as ids \
        ), hits as materialized ( \
            select id, name, version from (select unnest(ids) from fits) spans (span) \
            cross join lateral (select id, name, version from package \
                where id >= lower(span) and id < upper(span) and {NAMED} order by id) named \
        )"
    )
}

/// The packages that are looked for, how many there are, and with which computers those of a page are. What it means is
/// said in `domain::package_search`.
fn search_sql() -> String {
    let hits = hits_sql();
    format!(
        "{hits}, page as materialized ( \
            select id from hits \
            order by name collate \"C\", version collate \"C\", id limit $10 offset $11 \
        ), shown as ( \
            select range_agg(int8range(id, id, '[]')) as ids from page \
        ), holders as ( \
            select id, \
                array_agg(computer_id order by computer_id) filter (where state = 0) as installed, \
                array_agg(computer_id order by computer_id) filter (where state = 1) as available, \
                array_agg(computer_id order by computer_id) filter (where state = 2) as upgrades, \
                array_agg(computer_id order by computer_id) filter (where state = 3) as held \
            from (select computer_id, state, \
                      generate_series(lower(span), upper(span) - 1) as id \
                  from (select computer_id, state, \
                            unnest(ids * (select ids from shown)) as span \
                        from told where state < 4) spans) ids \
            group by id \
        ) \
        select count, (extract(epoch from now()) * 1000)::bigint, page.id, name, version, summary, \
            coalesce(installed[:$12], '{{}}'), coalesce(available[:$12], '{{}}'), \
            coalesce(upgrades[:$12], '{{}}'), coalesce(held[:$12], '{{}}'), \
            cardinality(coalesce(installed, '{{}}'))::bigint, \
            cardinality(coalesce(available, '{{}}'))::bigint, \
            cardinality(coalesce(upgrades, '{{}}'))::bigint, \
            cardinality(coalesce(held, '{{}}'))::bigint \
        from (select count(*) from hits) counted left join page on true \
        left join package using (id) left join holders using (id) \
        order by name collate \"C\", version collate \"C\", page.id"
    )
}

/// Looks for packages.
///
/// # Errors
///
/// The database's.
pub async fn search(tx: &Tx<'_>, question: &Question) -> Result<Answer> {
    let [installed, available, upgrade, held, security] = question.states();
    let (limit, offset) = question.page();
    let most = question.computers();
    let most = most.map_or(i32::MAX, |most| i32::try_from(most).unwrap_or(i32::MAX));
    let values: [&(dyn ToSql + Sync); 12] = [
        &question.account_id,
        &question.computer_ids,
        &question.names,
        &question.text,
        &installed,
        &available,
        &upgrade,
        &held,
        &security,
        &limit,
        &offset,
        &most,
    ];
    let rows = rows(tx, &search_sql(), &values).await?;
    let mut answer = Answer::default();
    for row in &rows {
        (answer.count, answer.as_of) = (row.try_get(0)?, row.try_get(1)?);
        // A page with nothing on it is one row all the same.
        let Some(id) = row.try_get(2)? else { continue };
        let counts = Counts {
            installed: row.try_get(10)?,
            available: row.try_get(11)?,
            upgrades: row.try_get(12)?,
            held: row.try_get(13)?,
        };
        answer.packages.push(Found {
            id,
            name: row.try_get(3)?,
            version: row.try_get(4)?,
            summary: row.try_get(5)?,
            computers: Computers {
                installed: row.try_get(6)?,
                available: row.try_get(7)?,
                upgrades: row.try_get(8)?,
                held: row.try_get(9)?,
            },
            counts: question.computers().map(|_| counts),
        });
    }
    Ok(answer)
}

/// What these computers know of packages of these names.
///
/// # Errors
///
/// The database's.
pub async fn candidates(
    tx: &Tx<'_>,
    computers: &[i64],
    names: &[String],
) -> Result<Vec<Candidate>> {
    // The index of names is in the order of bytes.
    let sql = "select computer_id, id, name, version, id <@ installed, id <@ upgrades, \
                   id <@ security, id <@ held \
               from computer_packages join package on name collate \"C\" = any($2) \
                   and (id <@ installed or id <@ available or id <@ upgrades) \
               where computer_id = any($1)";
    let found = rows(tx, sql, &[&computers, &names]).await?;
    found.iter().map(candidate).collect()
}

/// The security upgrades of these computers, and what is installed of the same names.
///
/// # Errors
///
/// The database's.
pub async fn security_upgrades(tx: &Tx<'_>, computers: &[i64]) -> Result<Vec<Candidate>> {
    let sql = "with newer as (select distinct computer_id, name \
                   from computer_packages cross join unnest(upgrades * security) as span \
                   join package on id >= lower(span) and id < upper(span) \
                   where computer_id = any($1)) \
               select computer_id, id, package.name, version, id <@ installed, id <@ upgrades, \
                   id <@ security, id <@ held \
               from newer join computer_packages using (computer_id) \
               join package on package.name collate \"C\" = newer.name collate \"C\" \
                   and (id <@ installed or id <@ (upgrades * security))";
    let found = rows(tx, sql, &[&computers]).await?;
    found.iter().map(candidate).collect()
}

fn candidate(row: &tokio_postgres::Row) -> Result<Candidate> {
    Ok(Candidate {
        computer: row.try_get(0)?,
        id: row.try_get(1)?,
        name: row.try_get(2)?,
        version: row.try_get(3)?,
        installed: row.try_get(4)?,
        upgrade: row.try_get(5)?,
        security: row.try_get(6)?,
        held: row.try_get(7)?,
    })
}

/// Those of these computers that have something to upgrade, in their order.
///
/// # Errors
///
/// The database's.
pub async fn upgradable(tx: &Tx<'_>, computers: &[i64]) -> Result<Vec<i64>> {
    let sql = "select computer_id \
               from unnest($1::bigint[]) with ordinality as asked (computer_id, place) \
               join computer_packages using (computer_id) \
               where not isempty(upgrades) order by place";
    let found = rows(tx, sql, &[&computers]).await?;
    found.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// What a page says of a computer's packages, beyond them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its name for people.
    pub title: String,
    /// When it told of its packages last, UTC.
    pub reported: Option<String>,
    /// How its own last look at them failed, if it did.
    pub failed: Option<(i64, String)>,
}

/// What a page says of a computer's packages; None where an account has no such computer.
///
/// # Errors
///
/// The database's.
pub async fn summary(tx: &Tx<'_>, account: i64, computer: i64) -> Result<Option<Summary>> {
    let sql = format!(
        "select title, {}, code, error from computer \
         left join computer_packages told on told.computer_id = id \
         left join package_report looked on looked.computer_id = id and code <> 0 \
         where account_id = $1 and id = $2",
        shown("told.reported_at")
    );
    let Some(row) = super::find(tx, &sql, &[&account, &computer]).await? else {
        return Ok(None);
    };
    let (code, error): (Option<i64>, Option<String>) = (row.try_get(2)?, row.try_get(3)?);
    Ok(Some(Summary {
        title: row.try_get(0)?,
        reported: row.try_get(1)?,
        failed: code.zip(error),
    }))
}
