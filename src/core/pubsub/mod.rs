//! core/pubsub
