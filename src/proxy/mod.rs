//! The data path: Pingora's `ProxyHttp` phases, one file each.
//!
//! `front` and `head` read a request's head strictly; [`gateway`] is the thin `ProxyHttp` implementation that calls, in
//! order: `authenticate`, `route`, `admit`, `read_body`, `pick`, `send`, `judge`, `relay`, `record`. What belongs to one
//! request lives in `context`; what belongs to the configuration in [`edge`].

pub mod admit;
pub mod answer;
mod authenticate;
mod catalog;
mod client_ip;
mod context;
mod cors;
pub mod edge;
pub mod front;
pub mod gateway;
mod head;
mod judge;
mod lexer;
mod local;
mod model;
mod names;
mod pick;
mod read_body;
mod record;
pub mod records;
mod relay;
mod resource;
mod route;
mod scope;
mod send;
mod status;
pub mod tls_door;
mod usage;

pub use edge::Edge;
pub use gateway::Gateway;
pub use records::{Attempt, Records, Trail};
pub use status::{StatusAnswer, StatusPages, StatusRequest, Who};
