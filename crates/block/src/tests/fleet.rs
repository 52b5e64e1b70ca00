//! A fleet-like block: how large it is, and how few requests a query takes.

use pharos_model::Matcher;

use super::*;
