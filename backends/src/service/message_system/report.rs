//! Where does each report go? One arm per kind of message.

use std::time::SystemTime;

use crate::bpickle::Value;
use crate::domain::fields::time;
use crate::domain::message::Message;
use crate::domain::report::OperationResult;
use crate::store::{Result, Tx, activity, computer, network, report};

/// When a message was made: its own time, but never later than `now`.
pub fn made_at(message: &Value, now: SystemTime) -> SystemTime {
    let told = message.at("timestamp").map(time);
    match told {
        Some(Ok(at)) => at.min(now),
        _ => now,
    }
}

/// Stores a message that was made at `at`.
///
/// # Errors
///
/// The database's.
pub async fn store(tx: &Tx<'_>, id: i64, message: Message, at: SystemTime) -> Result<()> {
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
        // Without a number the agent tells that it begins anew; what it sends then replaces.
        Message::Resynchronize(None) => Ok(()),
        Message::Resynchronize(Some(operation)) => {
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
