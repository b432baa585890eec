//! Results: what they are, and as what they are shown.
//!
//! | file | what it makes |
//! |---|---|
//! | `document` | the results as data; JSON both ways |
//! | `ranking` | who is faster, or that it cannot be told |
//! | `text` | tables and lines for the terminal |
//! | `csv` | one line for each run, redis-benchmark's columns first |
//! | `hgrm` | percentiles as HdrHistogram plots them |
//! | `page`, `charts` | one HTML file that needs nothing else |

pub mod charts;
pub mod csv;
pub mod document;
pub mod hgrm;
pub mod page;
pub mod ranking;
pub mod text;
