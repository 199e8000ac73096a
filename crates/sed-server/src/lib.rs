//! The gRPC services, their configuration and limits, health and reflection.
