//! What is sent: the tests by name, requests with holes for numbers, which number comes next,
//! and what must come back.
//!
//! | file | what it knows |
//! |---|---|
//! | `suite` | the tests that `-t` names |
//! | `template` | one request with its holes |
//! | `keys`, `zipf` | which number goes into a hole |
//! | `builder` | many requests, rendered for one send |
//! | `model` | what a connection wrote, and what it must read |

pub mod builder;
pub mod keys;
pub mod model;
pub mod suite;
pub mod template;
pub mod zipf;
