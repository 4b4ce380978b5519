//! The paths of the gateway: those of MozDef's loginput, and those of the systems whose shippers it takes events from.
//!
//! In: requests. Out: what they are, for `take`; answers to questions without a body. Never: an answer to a sender
//! that says a wrong token, as shippers test theirs by such questions.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use axum::routing::{MethodRouter, any, get, post};
use bytes::Bytes;

use super::batch::Target;
use super::body;
use super::bulk::{Action, Verb};
use super::github::Hook;
use super::hec::{self, Asked};
use super::otlp::Form;
use super::refusal::Refusal;
use super::respond;
use super::take::{Dialect, Gateway, answer};

/// What monitoring of the original compares byte for byte.
const STATUS: &str = r#"{"status": "ok", "service": "loginput"}"#;
/// Longest name of an app in `/custom/<app>`.
const APP_BYTES_MAX: usize = 128;
/// Largest question about acknowledgements.
const QUESTION_BYTES_MAX: usize = 256 << 10;

type Routes = Router<Arc<Gateway>>;
type Shared = State<Arc<Gateway>>;

/// All paths. Those of the original are also there with a slash at the end, except `/custom/<app>`, as they were.
pub(super) fn router(gateway: Arc<Gateway>, hooks: Vec<(String, Arc<Hook>)>) -> Router {
    let routes = loginput(Router::new());
    let routes = splunk(elasticsearch(routes));
    let routes =
        routes.route("/v1/logs", post(log_records)).route("/opentelemetry/v1/logs", post(log_records));
    let routes = hooks.into_iter().fold(routes, |routes, (path, hook)| routes.route(&path, webhook(hook)));
    routes
        .fallback(nothing)
        .method_not_allowed_fallback(async |request: Request| {
            discard(request).await;
            respond::page(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed.")
        })
        .with_state(gateway)
}

fn loginput(routes: Routes) -> Routes {
    let status = || get(async || respond::with_body(StatusCode::OK, "application/json", STATUS));
    let test = || get(async || respond::taken());
    let events = || takes(Target::Events("events"));
    let both = [
        ("/events", events as fn() -> MethodRouter<Arc<Gateway>>),
        ("/nxlog", events),
        ("/cef", || takes(Target::Events("cef"))),
        ("/_bulk", || takes(Target::Bulk { index: None })),
    ];
    let routes = routes
        .route("/status", status())
        .route("/status/", status())
        .route("/_status", status())
        .route("/_status/", status())
        .route("/test", test())
        .route("/test/", test())
        .route("/custom/{app}", post(custom).put(custom));
    both.into_iter()
        .fold(routes, |routes, (path, takes)| routes.route(path, takes()).route(&format!("{path}/"), takes()))
}

fn elasticsearch(routes: Routes) -> Routes {
    let single = |verb: Verb| {
        let handler = move |State(gateway): Shared, Path(place): Path<Vec<String>>, request: Request| {
            let mut place = place.into_iter();
            let action = Action { verb, index: place.next(), id: place.next() };
            answer(gateway, Target::Document(action), None, request)
        };
        post(handler).put(handler)
    };
    routes
        .route("/", get(greeting))
        .route("/{index}", any(index))
        .route("/{index}/_bulk", post(bulk).put(bulk))
        .route("/{index}/{type}/_bulk", post(bulk_of_type).put(bulk_of_type))
        .route("/{index}/_doc", single(Verb::Index))
        .route("/{index}/_doc/{id}", single(Verb::Index))
        .route("/{index}/_create/{id}", single(Verb::Create))
}

fn splunk(routes: Routes) -> Routes {
    let health = || get(health);
    let routes = ["", "/", "/1.0", "/event", "/event/1.0"]
        .into_iter()
        .fold(routes, |routes, end| routes.route(&format!("/services/collector{end}"), post(collector)));
    routes
        .route("/services/collector/raw", post(raw_lines))
        .route("/services/collector/raw/1.0", post(raw_lines))
        .route("/services/collector/ack", post(acknowledged))
        .route("/services/collector/ack/1.0", post(acknowledged))
        .route("/services/collector/health", health())
        .route("/services/collector/health/1.0", health())
}

fn takes(target: Target) -> MethodRouter<Arc<Gateway>> {
    let handler = move |State(gateway): Shared, request: Request| answer(gateway, target, None, request);
    post(handler.clone()).put(handler)
}

async fn custom(State(gateway): Shared, Path(app): Path<String>, request: Request) -> Response {
    if app.len() > APP_BYTES_MAX {
        discard(request).await;
        return respond::page(StatusCode::NOT_FOUND, "The name of an app has at most 128 bytes.");
    }
    answer(gateway, Target::Custom(Bytes::from(app)), None, request).await
}

async fn bulk(State(gateway): Shared, Path(index): Path<String>, request: Request) -> Response {
    answer(gateway, Target::Bulk { index: Some(index) }, None, request).await
}

async fn bulk_of_type(state: Shared, Path((index, _)): Path<(String, String)>, request: Request) -> Response {
    bulk(state, Path(index), request).await
}

async fn greeting(State(gateway): Shared, request: Request) -> Response {
    if let Err(refusal) = told_right(&gateway, &request) {
        return Dialect::OpenSearch.refused(&refusal);
    }
    let mut response = respond::json(StatusCode::OK, &gateway.elastic.greeting(request.headers()));
    gateway.elastic.mark(request.headers(), &mut response);
    response
}

/// A question about one index.
async fn index(State(gateway): Shared, Path(index): Path<String>, request: Request) -> Response {
    let Some(response) = gateway.elastic.index(request.method(), &index) else {
        return nothing(State(gateway), request).await;
    };
    asked(&gateway, request, response).await
}

/// What no path is for; among it the questions of Elasticsearch's clients.
async fn nothing(State(gateway): Shared, request: Request) -> Response {
    match gateway.elastic.answer(request.method(), request.uri().path()) {
        Some(response) => asked(&gateway, request, response).await,
        None => {
            discard(request).await;
            respond::page(
                StatusCode::NOT_FOUND,
                "Send events to /events, /_bulk or /custom/&lt;app&gt;; GET / lists all paths.",
            )
        }
    }
}

async fn asked(gateway: &Gateway, request: Request, mut response: Response) -> Response {
    let head = request.headers().clone();
    let told = gateway.sender(&request).map(|_| ());
    discard(request).await;
    match told {
        Ok(()) => {
            gateway.elastic.mark(&head, &mut response);
            response
        }
        Err(refusal) => Dialect::OpenSearch.refused(&refusal),
    }
}

/// Whoever says nothing may ask what this is; whoever says a wrong token is told so.
fn told_right(gateway: &Gateway, request: &Request) -> Result<(), Refusal> {
    match request.headers().contains_key(AUTHORIZATION) {
        true => gateway.sender(request).map(|_| ()),
        false => Ok(()),
    }
}

async fn collector(State(gateway): Shared, request: Request) -> Response {
    match Asked::of(request.uri(), request.headers()) {
        Ok(asked) => answer(gateway, Target::Hec(asked), None, request).await,
        Err(refusal) => refused(request, Dialect::Splunk { wants_ack: false }, &refusal).await,
    }
}

async fn raw_lines(State(gateway): Shared, request: Request) -> Response {
    match Asked::of(request.uri(), request.headers()) {
        Ok(asked) => answer(gateway, Target::HecRaw(asked), None, request).await,
        Err(refusal) => refused(request, Dialect::Splunk { wants_ack: false }, &refusal).await,
    }
}

/// Which of a client's ack ids are acknowledged.
async fn acknowledged(State(gateway): Shared, request: Request) -> Response {
    let splunk = Dialect::Splunk { wants_ack: false };
    let asked = gateway.sender(&request).and_then(|_| Asked::of(request.uri(), request.headers()));
    let channel = asked.and_then(|asked| asked.channel.ok_or(Refusal::Splunk(hec::Code::ChannelMissing)));
    if let Err(refusal) = channel {
        return refused(request, splunk, &refusal).await;
    }
    let body = axum::body::to_bytes(request.into_body(), QUESTION_BYTES_MAX).await;
    let Some(ids) = body.ok().and_then(|body| hec::asked(&body)) else {
        return splunk.refused(&Refusal::Splunk(hec::Code::InvalidFormat));
    };
    let now = gateway.intake().now();
    hec::acks(ids.into_iter().map(|id| (id, gateway.acks.was_given(id, now))))
}

async fn health(State(gateway): Shared) -> Response {
    hec::healthy(gateway.has_room())
}

async fn log_records(State(gateway): Shared, request: Request) -> Response {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    match Form::of(content_type) {
        Some(form) => answer(gateway, Target::Otlp(form), None, request).await,
        None => {
            let refusal = Refusal::MediaType(content_type.unwrap_or_default().chars().take(64).collect());
            refused(request, Dialect::Otlp(Form::Json), &refusal).await
        }
    }
}

fn webhook(hook: Arc<Hook>) -> MethodRouter<Arc<Gateway>> {
    post(async move |State(gateway): Shared, request: Request| match hook.delivery(request.headers()) {
        Ok(delivery) => answer(gateway, Target::Github(delivery), Some(&hook.name), request).await,
        Err(refusal) => refused(request, Dialect::Plain, &refusal).await,
    })
}

async fn refused(request: Request, dialect: Dialect, refusal: &Refusal) -> Response {
    discard(request).await;
    dialect.refused(refusal)
}

async fn discard(request: Request) {
    if request.method() == Method::GET || request.method() == Method::HEAD {
        return;
    }
    let (parts, body) = request.into_parts();
    body::discard(body, &parts.headers).await;
}
