//! The Hemi engine: config language, components, stages, runtime, sockets.
