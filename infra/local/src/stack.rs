//! Starting and stopping everything.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use shared::app::{App, StartError as AppError};
use shared::clock::{self, Deadline};
use shared::config::{
    ArchiveConfig, AuditConfig, Config, DEVELOPMENT_JWT_SECRET, DEVELOPMENT_SIGNING_KEY, SigningConfig,
    SpacesConfig, SpacesKey, TablesConfig, TokenConfig,
};
use shared::http::{BASE_PATH, Configured};
use shared::maintenance::{Maintenance, Options as MaintenanceOptions};
use shared::secret::Secret;
use shared::tables::StoreError;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::data::{DataError, DataFolder};
use crate::gateway;
use crate::sealing;
use crate::spaces::{ACCESS_KEY_ID, ARCHIVE_BUCKET, BUCKET, CorsRule, SECRET_ACCESS_KEY, Spaces};
use crate::stream::{Embedded, Stream};

/// How long connections get to finish when the stack stops.
const STOPPING_TIME: Duration = Duration::from_secs(2);
/// How long maintenance waits between two runs.
const MAINTENANCE_PERIOD: Duration = Duration::from_secs(60);
/// How long one run may take: the deployed function's timeout.
const MAINTENANCE_LIMIT: Duration = Duration::from_secs(290);
/// How long the embedded stores get to set up their tables.
const SETUP_TIME: Duration = Duration::from_secs(30);

/// The audit log's table.
const LOG_TABLE: &str = "storage_audit_logs";
/// What the origins of the local logs begin with.
pub const AUDIT_ORIGIN: &str = "localhost/audit";

/// What to start.
#[derive(Debug, Clone)]
pub struct Options {
    /// Port of the service; 0 for a free one.
    pub port: u16,
    /// Port of the embedded S3; 0 for a free one.
    pub s3_port: u16,
    /// Port of the embedded DynamoDB; 0 for a free one.
    pub dynamodb_port: u16,
    /// Where data are kept; none: nothing is kept.
    pub data: Option<PathBuf>,
    /// The secret that tokens are signed with.
    pub jwt_secret: String,
    /// Policies instead of the default set.
    pub policies: Option<String>,
}

impl Default for Options {
    /// Free ports, nothing kept, the development secret, the default policies.
    fn default() -> Self {
        Self {
            port: 0,
            s3_port: 0,
            dynamodb_port: 0,
            data: None,
            jwt_secret: DEVELOPMENT_JWT_SECRET.to_owned(),
            policies: None,
        }
    }
}

/// Why the stack does not start. The texts are for the person at the terminal.
#[derive(Debug, Error)]
pub enum StartError {
    /// A port is taken.
    #[error("port {port} is in use: stop what uses it, or choose another with {flag} (0 picks a free one)")]
    PortInUse {
        /// The port.
        port: u16,
        /// The flag that chooses it.
        flag: &'static str,
    },
    /// A port cannot be opened.
    #[error("port {port} cannot be opened: {source}")]
    Port {
        /// The port.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// The data folder is not usable.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The embedded S3 does not open its data.
    #[error("the embedded S3 does not start: {0}")]
    Spaces(#[from] crate::spaces::OpenError),
    /// The embedded DynamoDB does not open its data.
    #[error("the embedded DynamoDB does not start: {0}")]
    Database(String),
    /// The tables cannot be set up, or the store lacks transactions.
    #[error("the embedded DynamoDB is not usable: {0}")]
    Tables(#[from] StoreError),
    /// Policies or token secret are not valid.
    #[error(transparent)]
    App(#[from] AppError),
}

/// A running stack.
#[derive(Debug)]
pub struct Stack {
    /// Where the service answers.
    pub api: SocketAddr,
    /// Where the embedded S3 answers.
    pub s3: SocketAddr,
    /// Where the embedded DynamoDB answers.
    pub dynamodb: SocketAddr,
    jwt_secret: Secret,
    stop: watch::Sender<bool>,
    servers: JoinSet<()>,
    data: DataFolder,
    dynamodb_data: Embedded,
}

impl Stack {
    /// Starts everything and answers when it serves.
    ///
    /// # Errors
    /// [`StartError`]
    pub async fn start(options: &Options) -> Result<Self, StartError> {
        let data = match &options.data {
            Some(path) => DataFolder::open(path)?,
            None => DataFolder::ephemeral()?,
        };
        let dynamodb_data = match &options.data {
            Some(_) => Embedded::open(&data.path().join("dynamodb.sqlite")),
            // What nobody keeps need not wait for a disk.
            None => Embedded::memory(),
        };
        let dynamodb_data = dynamodb_data.map_err(|error| StartError::Database(error.to_string()))?;
        let api = listen(options.port, "--port").await?;
        let s3 = listen(options.s3_port, "--s3-port").await?;
        let dynamodb = listen(options.dynamodb_port, "--dynamodb-port").await?;
        let address = |listener: &TcpListener, port| {
            listener.local_addr().map_err(|source| StartError::Port { port, source })
        };
        let mut stack = Self {
            api: address(&api, options.port)?,
            s3: address(&s3, options.s3_port)?,
            dynamodb: address(&dynamodb, options.dynamodb_port)?,
            jwt_secret: Secret::new(options.jwt_secret.clone()),
            stop: watch::Sender::new(false),
            servers: JoinSet::new(),
            data,
            dynamodb_data,
        };

        let cors = vec![CorsRule::development()];
        let spaces = Spaces::open(&stack.data.path().join("spaces"), cors)?;
        stack.servers.spawn(spaces.serve(s3, stack.stopped()));

        let (database, stopped) = (stack.dynamodb_data.database(), stack.stopped());
        stack.servers.spawn(async move {
            if let Err(error) = dynoxide::server::serve_with_shutdown(dynamodb, database, stopped).await {
                tracing::error!(error, "the embedded DynamoDB stopped");
            }
        });

        let config = stack.config(&options.jwt_secret, options.policies.clone());
        let app = App::new(&config)?;
        app.tables.provision().await?;
        app.tables.check_transactions(Deadline::after(SETUP_TIME)).await?;
        stack.serve(api, Ok(app));
        Ok(stack)
    }

    /// Serves all functions at one more address, on another configuration: so tests put a proxy between the functions
    /// and their stores.
    pub fn serve(&mut self, listener: TcpListener, app: Configured) {
        let (jwt_secret, stopped) = (self.jwt_secret.clone(), self.stopped());
        self.servers.spawn(async move {
            if let Err(error) = gateway::serve(listener, Arc::new(app), jwt_secret, stopped).await {
                tracing::error!(%error, "the gateway stopped");
            }
        });
    }

    /// Runs maintenance every minute, as a schedule does for the deployed function.
    ///
    /// # Errors
    /// [`StartError::App`]
    pub fn maintain(&mut self) -> Result<(), StartError> {
        let app = App::new(&self.config(DEVELOPMENT_JWT_SECRET, None))?;
        let stopped = self.stopped();
        self.servers.spawn(async move {
            tokio::select! {
                () = stopped => {}
                () = maintain_for_ever(&app) => {}
            }
        });
        Ok(())
    }

    /// Seals the audit log all the time, as the table's stream and a schedule have the deployed function do.
    ///
    /// # Errors
    /// [`StartError::App`]
    pub fn seal(&mut self) -> Result<(), StartError> {
        let app = App::new(&self.config(DEVELOPMENT_JWT_SECRET, None))?;
        let (stopped, embedded) = (self.stopped(), self.dynamodb_data.clone());
        let stream = embedded.stream(LOG_TABLE, Some(self.data.path().join("stream-position")));
        self.servers.spawn(async move {
            tokio::select! {
                () = stopped => {}
                () = sealing::for_ever(&app, stream, &embedded) => {}
            }
        });
        Ok(())
    }

    /// The stream of the audit log's table, from its beginning.
    #[must_use]
    pub fn stream(&self) -> Stream {
        self.dynamodb_data.stream(LOG_TABLE, None)
    }

    /// A function's configuration on this stack.
    #[must_use]
    pub fn config(&self, jwt_secret: &str, policies: Option<String>) -> Config {
        config(self.s3, self.dynamodb, jwt_secret, policies)
    }

    /// Where everything answers.
    #[must_use]
    pub fn addresses(&self) -> Value {
        json!({
            "api": format!("http://{}{BASE_PATH}", self.api),
            "admin": format!("http://{}/admin/", self.api),
            "s3": format!("http://{}", self.s3),
            "dynamodb": format!("http://{}", self.dynamodb),
        })
    }

    /// Stops everything: what runs may finish, within bounds.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        let finished = async { while self.servers.join_next().await.is_some() {} };
        // Connections that somebody keeps open must not keep us.
        let _ = tokio::time::timeout(STOPPING_TIME, finished).await;
    }

    fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stop = self.stop.subscribe();
        async move {
            let _ = stop.wait_for(|stop| *stop).await;
        }
    }
}

/// A function's configuration on the stack whose stores answer here.
#[must_use]
pub fn config(s3: SocketAddr, dynamodb: SocketAddr, jwt_secret: &str, policies: Option<String>) -> Config {
    Config {
        spaces: SpacesConfig {
            endpoint: format!("http://{s3}"),
            region: "us-east-1".into(),
            bucket: BUCKET.into(),
            key: Some(SpacesKey {
                access: Secret::new(ACCESS_KEY_ID.into()),
                secret: Secret::new(SECRET_ACCESS_KEY.into()),
            }),
        },
        tables: TablesConfig {
            endpoint: Some(format!("http://{dynamodb}")),
            region: "us-east-1".into(),
            records_table: "file_records".into(),
            log_table: LOG_TABLE.into(),
            state_table: "storage_state".into(),
            audit_state_table: "storage_audit_state".into(),
            access_key_id: Secret::new(ACCESS_KEY_ID.into()),
            secret_access_key: Secret::new(SECRET_ACCESS_KEY.into()),
            session_token: None,
        },
        tokens: Some(TokenConfig { secret: Secret::new(jwt_secret.into()), issuer: None, audience: None }),
        policies,
        audit: Some(AuditConfig {
            origin: AUDIT_ORIGIN.into(),
            archive: ArchiveConfig {
                endpoint: Some(format!("http://{s3}")),
                region: "us-east-1".into(),
                bucket: ARCHIVE_BUCKET.into(),
                access_key: Secret::new(ACCESS_KEY_ID.into()),
                secret_key: Secret::new(SECRET_ACCESS_KEY.into()),
                session_token: None,
                object_lock: false,
            },
            signing: Some(SigningConfig::Seed(Secret::new(DEVELOPMENT_SIGNING_KEY.into()))),
        }),
    }
}

async fn maintain_for_ever(app: &App) {
    loop {
        tokio::time::sleep(MAINTENANCE_PERIOD).await;
        let deadline = Deadline::after(MAINTENANCE_LIMIT);
        let report = Maintenance::new(app, clock::now(), deadline, MaintenanceOptions::default()).run().await;
        if !report.found.is_empty() || !report.complete {
            tracing::info!("maintenance:\n{report}");
        }
    }
}

async fn listen(port: u16, flag: &'static str) -> Result<TcpListener, StartError> {
    TcpListener::bind(("127.0.0.1", port)).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => StartError::PortInUse { port, flag },
        _ => StartError::Port { port, source },
    })
}
