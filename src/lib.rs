//! A UNIX user for every service that exists only while the service runs.
//!
//! The list of modules is the architecture. A module uses only modules of lower layers;
//! `tests/layers.rs` reads the sources and keeps it so.

#![deny(unsafe_code)]

// Layer 0: words that everybody uses. Pure.
pub mod failure;
pub mod layout;
pub mod names;
pub mod uid;
pub mod user_text;

// Layer 1: what to do, decided from words and facts. Pure.
pub mod access_list;
pub mod account_lines;
pub mod activation;
pub mod bpf_code;
pub mod candidates;
pub mod capabilities;
pub mod cleaning;
pub mod command_text;
pub mod conditions;
pub mod config;
pub mod connections;
pub mod control_group;
pub mod device_filter;
pub mod directives;
pub mod directory_claims;
pub mod directory_text;
pub mod doctor;
pub mod environment_text;
pub mod exec_directory;
pub mod history_text;
pub mod import;
pub mod level;
pub mod life;
pub mod nscd_protocol;
pub mod nsswitch;
pub mod observed;
pub mod packet_filter;
pub mod plan;
pub mod program_kind;
pub mod registry_text;
pub mod request;
pub mod seccomp;
pub mod sizes;
pub mod socket_unit;
pub mod spec;
pub mod specifiers;
pub mod statuses;
pub mod time_span;
pub mod timestamp;
pub mod unit;
pub mod unit_check;
pub mod unit_file;
pub mod user_database;
pub mod user_record;
pub mod words;

// Layer 2: the only door to the kernel.
pub mod sys;
pub mod syscall_sets;

// Layer 3: looking, doing, taking back.
pub mod adopted;
pub mod allocate;
pub mod apply;
pub mod condition_look;
pub mod config_files;
pub mod consumption;
pub mod definition_files;
pub mod directory_record;
pub mod examine;
pub mod giving;
pub mod group;
pub mod history;
pub mod holder;
pub mod inside;
mod kept_lines;
pub mod lease;
pub mod meant;
pub mod name_caches;
pub mod notify_files;
pub mod number_locks;
pub mod observe;
pub mod orphans;
pub mod place;
pub mod published;
pub mod registry;
pub mod release;
pub mod removal;
pub mod root_files;
pub mod run_folders;
pub mod search_right;
pub mod sockets;
pub mod surroundings;
pub mod unit_directories;
pub mod unit_load;

// Layer 4: the live table.
pub mod manager;

// Layer 5: the edges.
pub mod bus;
pub mod client;
pub mod command_line;
pub mod daemon;
pub mod launcher;
pub mod listener;
pub mod nscd_server;
pub mod protocol;
pub mod pty;
pub mod public_socket;
pub mod relay;
pub mod report;
pub mod user_database_server;
pub mod watcher;
