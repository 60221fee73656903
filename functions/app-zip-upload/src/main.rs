//! The function's process.

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    shared::run(app_zip_upload::ENDPOINT).await
}
