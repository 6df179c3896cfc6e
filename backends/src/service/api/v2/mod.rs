//! What lies under `/api/v2`? Its routes; `openapi.json` describes them, and tests hold both together.

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};

use super::Desk;

mod activities;
mod alerts;
mod computers;
mod credentials;
mod hosts;
pub mod login;
mod packages;
mod pending;
mod scripts;

/// The description of all this, OpenAPI 3.1.
const OPENAPI: &str = include_str!("openapi.json");

/// The routes.
pub fn routes() -> Router<Desk> {
    Router::new()
        .route("/openapi.json", get(openapi))
        .route("/login", post(login::by_password))
        .route("/login/access-key", post(login::by_access_key))
        .route("/switch-account", post(login::switch_account))
        .route("/tokens/invalidate-me", post(login::invalidate_me))
        .route(
            "/tokens/invalidate-account",
            post(login::invalidate_account),
        )
        .route("/tokens/invalidate-system", post(login::invalidate_system))
        .route("/person", get(credentials::person))
        .route(
            "/credentials",
            get(credentials::list).post(credentials::make),
        )
        .route("/credentials/{access_key}", delete(credentials::remove))
        .route("/alerts", get(alerts::list))
        .route("/alerts/summary", get(alerts::summary))
        .route("/computers", get(computers::list))
        .route("/computers:delete", post(computers::remove))
        .route("/computers/{id}", get(computers::one))
        .route("/computers/{id}/restart", post(computers::restart))
        .route("/computers/{id}/shutdown", post(computers::shutdown))
        .route("/computers/{id}/packages", get(packages::of_computer))
        .route("/packages", get(packages::list))
        .route("/packages/install", post(packages::install))
        .route("/packages/remove", post(packages::remove))
        .route("/packages/upgrade", post(packages::upgrade))
        .route("/computers/wsl-hosts", get(hosts::list))
        .route(
            "/computers/wsl-hosts/{id}",
            get(hosts::one).delete(hosts::forget),
        )
        .route("/computers/wsl-hosts/{id}/accept", post(hosts::accept))
        .route(
            "/computers/wsl-hosts/{id}/orders",
            get(hosts::orders).post(hosts::order),
        )
        .route(
            "/computers/{id}/children",
            get(hosts::children).post(hosts::install),
        )
        .route("/computers/{id}/delete-children", post(hosts::uninstall))
        .route("/pending-computers", get(pending::list))
        .route("/pending-computers/accept", post(pending::accept))
        .route("/pending-computers/reject", post(pending::reject))
        .route("/activities", get(activities::list))
        .route("/activities/parents", get(activities::parents))
        .route("/activities/cancel", post(activities::cancel))
        .route("/activities/reapply", post(activities::reapply))
        .route("/activities/revert", post(activities::revert))
        .route("/activities/{id}", get(activities::one))
        .route("/scripts", get(scripts::list).post(scripts::make))
        .route(
            "/scripts/{id}",
            get(scripts::one)
                .delete(scripts::remove)
                .patch(scripts::change),
        )
        .route("/scripts/{id}/execute", post(scripts::execute))
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}
