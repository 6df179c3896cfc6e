//! Who knows which packages match? Package search where it answers in time, else the database.
//!
//! For services that look for packages. Both give the same answer, up to what changed a moment ago.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::warn;

use crate::domain::package_search::{Answer, Question};
use crate::metrics::Metrics;
use crate::settings;
use crate::store::{self, Store, package};

/// Largest answer, bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Questions to the database at once, of one worker. Of a large fleet each takes seconds, and everything else needs its
/// connections, too; others wait without one.
const ASKED_AT_ONCE: usize = 2;

/// Where packages are looked for. Cheap to clone.
#[derive(Clone)]
pub struct Packages {
    store: Store,
    free: Arc<Semaphore>,
    metrics: Metrics,
    settings: settings::PackageSearch,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Packages {
    /// With these settings; without a `url` the database alone is asked.
    pub fn new(store: &Store, metrics: &Metrics, settings: &settings::PackageSearch) -> Self {
        Self {
            store: store.clone(),
            free: Arc::new(Semaphore::new(ASKED_AT_ONCE)),
            metrics: metrics.clone(),
            settings: settings.clone(),
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    /// Answers a question.
    ///
    /// # Errors
    ///
    /// The database's, where package search did not answer.
    pub async fn ask(&self, question: &Question) -> store::Result<Answer> {
        if let Some(url) = &self.settings.url {
            let asked = timeout(self.settings.timeout, self.search(url, question)).await;
            let problem = match asked {
                Ok(Ok(answer)) => {
                    self.count("index");
                    return Ok(answer);
                }
                Ok(Err(problem)) => problem,
                Err(_) => "no answer in time".to_owned(),
            };
            warn!(
                problem,
                "package search does not help: the database is asked"
            );
        }
        self.count("sql");
        // It is never closed.
        let _place = self.free.acquire().await;
        let mut connection = self.store.connection().await?;
        let tx = store::begin(&mut connection).await?;
        package::search(&tx, question).await
    }

    fn count(&self, by: &str) {
        self.metrics
            .package_questions
            .with_label_values(&[by])
            .inc();
    }

    async fn search(&self, url: &Uri, question: &Question) -> Result<Answer, String> {
        let (mut status, mut body) = self.post(url, question).await?;
        if status == StatusCode::BAD_REQUEST && question.computers_max.is_some() {
            // One of before refuses what it does not know; it tells all computers.
            let question = Question {
                computers_max: None,
                ..question.clone()
            };
            (status, body) = self.post(url, &question).await?;
        }
        if !status.is_success() {
            return Err(format!("status {status}"));
        }
        serde_json::from_slice(&body).map_err(|cause| cause.to_string())
    }

    async fn post(&self, url: &Uri, question: &Question) -> Result<(StatusCode, Bytes), String> {
        let body = serde_json::to_vec(question).map_err(|cause| cause.to_string())?;
        let request = Request::post(url)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(body))
            .map_err(|cause| cause.to_string())?;
        let response = self.client.request(request).await;
        let response = response.map_err(|cause| cause.to_string())?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        let body = body.collect().await.map_err(|cause| cause.to_string())?;
        Ok((status, body.to_bytes()))
    }
}
