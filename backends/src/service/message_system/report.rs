//! Where does each report go? One arm per kind of message.

use std::time::SystemTime;

use crate::bpickle::{self, Limits, Value};
use crate::domain::fields::time;
use crate::domain::message::Message;
use crate::domain::package::{Package, package_ids};
use crate::domain::report::{Anew, OperationResult};
use crate::store::{Result, Tx, activity, computer, network, package, report};

/// When a message was made: its own time, but never later than `now`.
pub fn made_at(message: &Value, now: SystemTime) -> SystemTime {
    let told = message.at("timestamp").map(time);
    match told {
        Some(Ok(at)) => at.min(now),
        _ => now,
    }
}

/// Stores a message that was made at `at`, and says what is to be answered to it, if anything.
///
/// # Errors
///
/// The database's.
pub async fn store(
    tx: &Tx<'_>,
    id: i64,
    message: Message,
    at: SystemTime,
) -> Result<Option<Value>> {
    let (request, ids) = match message {
        Message::UnknownHashes(asked) => (asked.request, package::ids(tx, &asked.hashes).await?),
        Message::AddPackages(told) => (told.request, add(tx, told.packages).await?),
        message => return keep(tx, id, message, at).await.map(|()| None),
    };
    Ok(Some(package_ids(request, &ids)))
}

/// The numbers of described packages in their places; none in the place of one that did not fit.
async fn add(tx: &Tx<'_>, told: Vec<Option<Package>>) -> Result<Vec<Option<i64>>> {
    let fit: Vec<bool> = told.iter().map(Option::is_some).collect();
    let packages: Vec<Package> = told.into_iter().flatten().collect();
    let mut ids = package::add(tx, &packages).await?.into_iter();
    let place = |fits: bool| if fits { ids.next().flatten() } else { None };
    Ok(fit.into_iter().map(place).collect())
}

async fn keep(tx: &Tx<'_>, id: i64, message: Message, at: SystemTime) -> Result<()> {
    match message {
        Message::NetworkDevice(interfaces) => {
            network::replace_interfaces(tx, id, &interfaces, at).await
        }
        Message::NetworkActivity(traffic) => network::add_traffic(tx, id, &traffic).await,
        Message::ComputerInfo(info) => report::computer_info(tx, id, &info).await,
        Message::Distribution(told) => report::distribution(tx, id, &told).await,
        Message::Processors(all) => report::processors(tx, id, &all).await,
        Message::Memory(samples) => report::memory(tx, id, &samples).await,
        Message::Load(samples) => report::load(tx, id, &samples).await,
        Message::Processes(told) => report::processes(tx, id, &told).await,
        Message::Mounts(mounts) => report::mounts(tx, id, &mounts).await,
        Message::FreeSpace(samples) => report::free_space(tx, id, &samples).await,
        Message::Users(told) => report::users(tx, id, &told).await,
        Message::UbuntuPro(json) => report::ubuntu_pro(tx, id, &json).await,
        Message::Tags(tags) => computer::set_tags(tx, id, &tags).await,
        Message::RebootRequired(flag, packages) => {
            report::reboot_required(tx, id, flag, packages.as_deref()).await
        }
        Message::Hardware(xml) => report::hardware(tx, id, &xml).await,
        Message::OperationResult(result) => ended(tx, id, &result).await,
        Message::Packages(told) => package::report(tx, id, &told, at).await,
        Message::ReporterResult(told) => package::reporter_result(tx, id, &told, at).await,
        Message::PackagesChanged(result, install, remove) => {
            package::needs(tx, id, result.operation, &install, &remove).await?;
            ended(tx, id, &result).await
        }
        // These were answered before they came here.
        Message::UnknownHashes(_) | Message::AddPackages(_) => Ok(()),
        // Without a number the agent tells by itself that it begins anew. It tells all that there is then, and not what
        // there is no more.
        Message::Resynchronize(None) => report::forget(tx, id, &Anew::All).await,
        Message::Resynchronize(Some(operation)) => {
            if let Some(anew) = ordered(tx, id, operation).await? {
                report::forget(tx, id, &anew).await?;
            }
            let result = OperationResult {
                operation,
                succeeded: true,
                code: None,
                text: None,
            };
            ended(tx, id, &result).await
        }
    }
}

/// What an order to report again asked for; None where this computer was given no such order.
async fn ordered(tx: &Tx<'_>, id: i64, operation: i64) -> Result<Option<Anew>> {
    let fields = activity::delivered_fields(tx, id, operation, "resynchronize").await?;
    let fields = fields.and_then(|fields| bpickle::read(&fields, Limits::default()).ok());
    Ok(fields.as_ref().map(Anew::ordered))
}

async fn ended(tx: &Tx<'_>, id: i64, result: &OperationResult) -> Result<()> {
    if !activity::completed(tx, id, result).await? {
        tracing::info!(
            computer = id,
            operation = result.operation,
            "a result that nobody waits for"
        );
    }
    Ok(())
}
