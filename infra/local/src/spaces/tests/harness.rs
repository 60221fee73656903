//! A bucket for one test: its own folder, its own port, the SDK's client.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    retry::RetryConfig,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::spaces::{ACCESS_KEY_ID, BUCKET, CorsRule, SECRET_ACCESS_KEY, Spaces};

/// The smallest part that need not be the last.
pub(super) const PART: usize = 5 * 1024 * 1024;

/// A running bucket.
pub(super) struct TestBucket {
    pub(super) client: Client,
    pub(super) address: SocketAddr,
    dir: TempDir,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl TestBucket {
    pub(super) async fn start() -> Self {
        Self::start_in(TempDir::new().unwrap()).await
    }

    async fn start_in(dir: TempDir) -> Self {
        let spaces = Spaces::open(dir.path(), vec![CorsRule::development()]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async { stopped.await.unwrap_or_default() };
        let server = tokio::spawn(spaces.serve(listener, shutdown));
        let client = client(address, ACCESS_KEY_ID, SECRET_ACCESS_KEY);
        Self { client, address, dir, stop, server }
    }

    /// Ends the server and answers its folder.
    pub(super) async fn end(self) -> TempDir {
        self.stop.send(()).unwrap();
        self.server.await.unwrap();
        self.dir
    }

    pub(super) async fn restart(self) -> Self {
        Self::start_in(self.end().await).await
    }

    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// How many files hold bytes, whether or not the index names them.
    pub(super) fn files(&self) -> usize {
        self.dir().join("data").read_dir().unwrap().count()
    }

    pub(super) fn put_request(&self, key: &str, bytes: impl Into<Vec<u8>>) -> PutObjectFluentBuilder {
        self.client.put_object().bucket(BUCKET).key(key).body(ByteStream::from(bytes.into()))
    }

    pub(super) async fn put(&self, key: &str, bytes: impl Into<Vec<u8>>) -> String {
        self.put_request(key, bytes).send().await.unwrap().e_tag.unwrap()
    }

    pub(super) async fn get(&self, key: &str) -> Vec<u8> {
        let answer = self.client.get_object().bucket(BUCKET).key(key).send().await.unwrap();
        answer.body.collect().await.unwrap().to_vec()
    }

    pub(super) async fn get_range(&self, key: &str, range: &str) -> Vec<u8> {
        let answer = self.client.get_object().bucket(BUCKET).key(key).range(range).send().await.unwrap();
        answer.body.collect().await.unwrap().to_vec()
    }

    pub(super) async fn keys(&self) -> Vec<String> {
        let page = self.client.list_objects_v2().bucket(BUCKET).send().await.unwrap();
        page.contents().iter().map(|object| object.key().unwrap().to_owned()).collect()
    }

    pub(super) async fn create_upload(&self, key: &str) -> String {
        let answer = self.client.create_multipart_upload().bucket(BUCKET).key(key).send().await.unwrap();
        answer.upload_id.unwrap()
    }

    /// Uploads a part and answers what Complete wants to know of it.
    pub(super) async fn upload_part(
        &self,
        key: &str,
        upload: &str,
        number: i32,
        bytes: Vec<u8>,
    ) -> CompletedPart {
        let request = self.client.upload_part().bucket(BUCKET).key(key).upload_id(upload).part_number(number);
        let answer = request.body(ByteStream::from(bytes)).send().await.unwrap();
        CompletedPart::builder().part_number(number).set_e_tag(answer.e_tag).build()
    }

    /// Completes an upload; answers the ETag, or the error's code.
    pub(super) async fn complete(
        &self,
        key: &str,
        upload: &str,
        parts: impl IntoIterator<Item = CompletedPart>,
    ) -> Result<String, String> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.into_iter().collect())).build();
        let request = self.client.complete_multipart_upload().bucket(BUCKET).key(key).upload_id(upload);
        let answer = request.multipart_upload(parts).send().await;
        answer.map(|answer| answer.e_tag.unwrap()).map_err(|error| code(&error))
    }

    /// A URL on this bucket, as it stands on the wire.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

pub(super) fn client(address: SocketAddr, key_id: &str, secret: &str) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .endpoint_url(format!("http://{address}"))
        .force_path_style(true)
        .credentials_provider(Credentials::new(key_id, secret, None, None, "test"))
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        // A 500 shall be seen, not tried again.
        .retry_config(RetryConfig::disabled())
        .build();
    Client::from_conf(config)
}

/// The code of a refusal, or the status where S3 sends no body (HEAD).
pub(super) fn code<E: ProvideErrorMetadata>(error: &SdkError<E>) -> String {
    let status = error.raw_response().map(|response| response.status().as_u16());
    error.code().map(str::to_owned).unwrap_or_else(|| format!("{status:?}"))
}

pub(super) fn expires_in(seconds: u64) -> PresigningConfig {
    PresigningConfig::expires_in(Duration::from_secs(seconds)).unwrap()
}

/// Bytes that differ from place to place, so that a wrong offset shows.
pub(super) fn bytes(size: usize, seed: u8) -> Vec<u8> {
    (0..size).map(|place| (place % 251) as u8 ^ seed).collect()
}
