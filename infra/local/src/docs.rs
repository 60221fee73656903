//! The OpenAPI document at `/openapi.json`, and a page at `/docs/` that shows it.

use std::path::Path;

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use tower_http::services::{ServeDir, ServeFile};

use crate::admin;

/// Read at each request, as the admin page is.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../openapi");

/// Both.
pub(crate) fn page() -> Router {
    let folder = Path::new(FOLDER);
    let files = Router::new()
        .route("/docs", get(async || Redirect::permanent("/docs/")))
        .nest_service("/docs/", ServeDir::new(folder.join("docs")))
        .route_service("/openapi.json", ServeFile::new(folder.join("openapi.json")));
    admin::hosted(files)
}
