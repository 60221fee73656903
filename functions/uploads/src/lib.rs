//! `/api/storage/uploads`: upload sessions, for files of any size straight into the bucket. The client puts parts to URLs that
//! it is given and only ever names the session; what becomes of the parts is decided here.

mod parts;
mod session;

use lambda_http::http::Method;
use shared::config::Needs;
use shared::http::{Endpoint, Route};

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint {
    name: "uploads",
    needs: Needs::ENDPOINT.and_spaces(),
    routes: &[
        Route { method: Method::POST, path: "", handler: |app, call| Box::pin(session::create(app, call)) },
        Route { method: Method::GET, path: "{id}", handler: |app, call| Box::pin(session::show(app, call)) },
        Route {
            method: Method::DELETE,
            path: "{id}",
            handler: |app, call| Box::pin(session::abort(app, call)),
        },
        Route {
            method: Method::POST,
            path: "{id}/parts",
            handler: |app, call| Box::pin(parts::sign(app, call)),
        },
        Route {
            method: Method::POST,
            path: "{id}/complete",
            handler: |app, call| Box::pin(session::complete(app, call)),
        },
    ],
};
