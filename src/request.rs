//! What somebody asks for: words as they came, from the command line or from the bus.

#![forbid(unsafe_code)]

/// A request that nobody has checked yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The name of the service.
    pub service: String,
    /// Assignments `Name=value` in the order in which they were made; see
    /// [`crate::directives::all`] for the names.
    pub properties: Vec<(String, String)>,
}
