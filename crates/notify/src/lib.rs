//! Everything between "these alerts are to be sent to that receiver" and the bytes on the wire: the receivers' sections of
//! `alertmanager.yml`, the templates of their texts, and a request in the form of each service.
//!
//! The crate decides nothing about when to send, and retries nothing: a [`NotifyError`] says whether that would help.
//! Templates are bounded in steps and output, answers of services in size, and every attempt in time. URLs and tokens that
//! are secrets stand in no error.

#![forbid(unsafe_code)]

pub mod alert;
pub mod config;
mod data;
mod error;
mod http;
mod integration;
mod json;
mod notification;
mod receiver;
mod receivers;
mod templates;
mod text;

pub use error::{FailureReason, NotifyError};
pub use integration::Integration;
pub use notification::{Notification, NotificationReason, ReceiverData};
pub use receiver::Receiver;
pub use templates::Templates;
