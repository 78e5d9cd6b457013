//! What travels: messages and service traits generated from `proto/`, and the one table of errors.
//!
//! Writes: nothing. Reads: nothing. Every room may import this one.

#[cfg(feature = "server")]
pub mod codec;
pub mod error;
pub mod hot;
#[cfg(feature = "server")]
pub mod loggable;
#[cfg(feature = "server")]
pub mod snapshot_message;
pub mod watch_response;

pub mod mvccpb {
    tonic::include_proto!("mvccpb");
}
pub mod authpb {
    tonic::include_proto!("authpb");
}
pub mod membershippb {
    tonic::include_proto!("membershippb");
}
pub mod etcdserverpb {
    tonic::include_proto!("etcdserverpb");
}
pub mod leasepb {
    tonic::include_proto!("leasepb");
}
pub mod raftpb {
    tonic::include_proto!("raftpb");
}
pub mod walpb {
    tonic::include_proto!("walpb");
}
pub mod snappb {
    tonic::include_proto!("snappb");
}
pub mod v3lockpb {
    tonic::include_proto!("v3lockpb");
}
pub mod v3electionpb {
    tonic::include_proto!("v3electionpb");
}
pub mod health {
    tonic::include_proto!("grpc.health.v1");
}

/// Service traits that the server implements, and their routers.
#[cfg(feature = "server")]
pub mod service {
    pub mod etcd {
        include!(concat!(env!("OUT_DIR"), "/server/etcdserverpb.rs"));
    }
    pub mod lock {
        include!(concat!(env!("OUT_DIR"), "/server/v3lockpb.rs"));
    }
    pub mod election {
        include!(concat!(env!("OUT_DIR"), "/server/v3electionpb.rs"));
    }
    pub mod health {
        include!(concat!(env!("OUT_DIR"), "/server/grpc.health.v1.rs"));
    }

    /// Which requests and responses a call has.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Kind {
        Unary,
        /// One request, many responses.
        ServerStreaming,
        /// Many requests.
        Streaming,
    }

    /// What a path stands for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Method {
        pub service: Service,
        pub kind: Kind,
    }

    include!(concat!(env!("OUT_DIR"), "/server/methods.rs"));
}
