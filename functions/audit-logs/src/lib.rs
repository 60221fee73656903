//! `GET /api/storage/audit-logs`: who did what (storage guide, "GET /api/storage/audit-logs").

mod covered;
pub mod cursor;
mod entry;
mod exports;
mod proof;
mod search;
mod single;
mod summary;

use lambda_http::http::Method;
use shared::app::App;
use shared::config::Needs;
use shared::http::{Call, Endpoint, Handling, Route};

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint {
    name: "audit-logs",
    needs: Needs::ENDPOINT.and_spaces(),
    routes: &[
        get("", |app, call| Box::pin(search::handle(app, call))),
        get("checkpoint", |app, call| Box::pin(proof::checkpoint(app, call))),
        get("consistency", |app, call| Box::pin(proof::consistency(app, call))),
        get("keys", |app, call| Box::pin(proof::keys(app, call))),
        get("summary", |app, call| Box::pin(summary::handle(app, call))),
        route(Method::POST, "exports", |app, call| Box::pin(exports::create(app, call))),
        get("exports/{id}", |app, call| Box::pin(exports::show(app, call))),
        route(Method::DELETE, "exports/{id}", |app, call| Box::pin(exports::cancel(app, call))),
        route(Method::POST, "exports/{id}/continue", |app, call| Box::pin(exports::resume(app, call))),
        get("{id}", |app, call| Box::pin(single::handle(app, call))),
        get("{id}/proof", |app, call| Box::pin(proof::inclusion(app, call))),
    ],
};

type Handler = for<'a> fn(&'a App, Call) -> Handling<'a>;

const fn get(path: &'static str, handler: Handler) -> Route {
    route(Method::GET, path, handler)
}

const fn route(method: Method, path: &'static str, handler: Handler) -> Route {
    Route { method, path, handler }
}
