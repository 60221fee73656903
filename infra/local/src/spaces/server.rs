//! HTTP/1.1 around the S3 service: connections, CORS, request ids, and an end that comes in time.
//!
//! Knows nothing of what the requests mean.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{HeaderValue, ORIGIN};
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpError, HttpResponse};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use ulid::Ulid;

use super::api::Api;
use super::cors::{self, CorsRule};
use super::gate::{Gate, Keys};
use super::store::Store;
use super::{ARCHIVE_BUCKET, BUCKET};

/// How long requests under way may take after the shutdown began.
pub(super) const GRACE: Duration = Duration::from_secs(5);
/// How long to wait before the next accept when one failed, since a lack of file descriptors does not pass at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What answers one request; the same for every connection.
pub(super) struct Service {
    files: S3Service,
    archive: S3Service,
    cors: Vec<CorsRule>,
}

pub(super) fn service(files: Arc<Store>, archive: Arc<Store>, cors: Vec<CorsRule>) -> Service {
    Service { files: bucket(files, BUCKET), archive: bucket(archive, ARCHIVE_BUCKET), cors }
}

fn bucket(store: Arc<Store>, name: &'static str) -> S3Service {
    let mut builder = S3ServiceBuilder::new(Api::new(store, name));
    builder.set_auth(Keys);
    builder.set_access(Gate { bucket: name });
    builder.build()
}

/// Accepts until `shutdown`, then waits for what is under way, but no longer than [`GRACE`].
pub(super) async fn run(listener: TcpListener, service: Service, shutdown: impl Future<Output = ()>) {
    let service = Arc::new(service);
    let (stop, stopping) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&service), stopping.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "the local bucket could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            // Reaps what has ended, so that the set does not grow with every connection there ever was.
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    stop.send_replace(true);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, all_ended).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "the local bucket cuts off requests that did not end"
        );
        connections.shutdown().await;
    }
}

async fn connection(stream: TcpStream, service: Arc<Service>, mut stopping: watch::Receiver<bool>) {
    // An answer's head goes out before its body is read: held back until that is acknowledged, the body would come 40 ms late.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection to the local bucket is slow");
    }
    let answer = service_fn(move |request| {
        let service = Arc::clone(&service);
        async move { service.answer(request).await }
    });
    // The timer is what bounds the time that a client may take to send a request's head.
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), answer);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the local bucket ended early");
    }
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the server is gone, which is a shutdown too.
    let _ = stopping.wait_for(|stop| *stop).await;
}

impl Service {
    async fn answer(&self, request: Request<Incoming>) -> Result<HttpResponse, HttpError> {
        let bucket = request.uri().path().trim_start_matches('/').split('/').next();
        // CORS is a property of a bucket: anything else has no rules.
        let (s3, rules) = match bucket {
            Some(ARCHIVE_BUCKET) => (&self.archive, &[][..]),
            Some(BUCKET) => (&self.files, self.cors.as_slice()),
            _ => (&self.files, &[][..]),
        };
        let origin = request.headers().get(ORIGIN).cloned();
        let method = request.method().clone();
        let mut response = if method == Method::OPTIONS {
            cors::preflight(rules, request.headers())
        } else {
            let mut response = s3.call(request.map(Body::from)).await?;
            cors::decorate(rules, origin.as_ref(), &method, &mut response);
            response
        };
        // Clients show it with every error, so that it can be found in the log.
        if let Ok(id) = HeaderValue::from_str(&Ulid::generate().to_string()) {
            response.headers_mut().insert("x-amz-request-id", id);
        }
        Ok(response)
    }
}
