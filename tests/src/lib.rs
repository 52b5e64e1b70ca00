//! Tests of behaviour across crates; see the files beside this folder.
