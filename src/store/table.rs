#![allow(unsafe_code)]
//! One table: an extendible directory over 4 KiB segments of 64-byte buckets.
