//! The one place that chooses by device.

use candle_core::Device;

/// A folder of kernels for one kind of device, with what it made. Every wing has a namesake of each layer and
/// operation; another kind of device is another folder, and its arm here.
#[derive(Debug, Clone)]
pub(crate) enum Wing<C = (), G = ()> {
    Cpu(C),
    Cuda(G),
}

impl Wing {
    /// Returns the wing that computes on a device's tensors.
    pub(crate) fn of(device: &Device) -> Self {
        if crate::cuda::runs_on(device) { Self::Cuda(()) } else { Self::Cpu(()) }
    }
}

/// Calls the function of a name in the wing of a device.
macro_rules! in_wing_of {
    ($device:expr, $function:ident($($argument:expr),*)) => {
        match $crate::layers::Wing::of($device) {
            $crate::layers::Wing::Cpu(()) => $crate::cpu::$function($($argument),*),
            $crate::layers::Wing::Cuda(()) => $crate::cuda::$function($($argument),*),
        }
    };
}
pub(crate) use in_wing_of;

/// Declares a layer by its constructor, with the device that it makes the layer for, and its methods: those
/// that each wing's layer of the same name has.
macro_rules! layer {
    (
        $(#[$about:meta])*
        pub struct $name:ident;
        $(#[$about_new:meta])*
        $visible:vis fn $new:ident($($value:ident: $type:ty),*) on $device:expr;
        $(
            $(#[$about_method:meta])*
            pub fn $method:ident(&self $(, $argument:ident: $of:ty)*) -> $result:ty;
        )*
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone)]
        pub struct $name($crate::layers::Wing<$crate::cpu::$name, $crate::cuda::$name>);

        impl $name {
            $(#[$about_new])*
            $visible fn $new($($value: $type),*) -> candle_core::Result<Self> {
                use $crate::layers::Wing;
                Ok(Self(match Wing::of($device) {
                    Wing::Cpu(()) => Wing::Cpu($crate::cpu::$name::$new($($value),*)?),
                    Wing::Cuda(()) => Wing::Cuda($crate::cuda::$name::$new($($value),*)?),
                }))
            }

            $(
                $(#[$about_method])*
                pub fn $method(&self $(, $argument: $of)*) -> $result {
                    match &self.0 {
                        $crate::layers::Wing::Cpu(layer) => layer.$method($($argument),*),
                        $crate::layers::Wing::Cuda(layer) => layer.$method($($argument),*),
                    }
                }
            )*
        }
    };
}
pub(crate) use layer;
