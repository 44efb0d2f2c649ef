#!/bin/sh
# Run while the image is built, in the very step that installs: what nobody runs in the virtual
# environment $1 goes away.
set -eu
cd "$1"/lib/python3.*/site-packages

# Unsloth's wheel brings a web application and a command line; we import the library.
rm -rf studio unsloth_cli

# What tests the packages. No code outside of such folders imports from them.
find . -type d -name tests -prune -exec rm -rf {} +
rm -rf torch/test torch/bin/test_* torch/bin/*_test torch/lib/libtorchbind_test.so

# What other programs are compiled and linked against. Triton brings its own CUDA headers.
rm -rf torch/include torch/share/cmake torch/bin/protoc* pyarrow/include
find . -name '*.a' -delete
[ ! -d nvidia ] || find nvidia -type d -name include -prune -exec rm -rf {} +

# bitsandbytes brings a library for every CUDA, ROCm and XPU: the one of this torch is enough.
cuda=$(sed -n "s/^cuda.* = '\([0-9]*\)\.\([0-9]*\)'.*/\1\2/p" torch/version.py)
find bitsandbytes -name 'libbitsandbytes_*.so' \
    ! -name libbitsandbytes_cpu.so ! -name "libbitsandbytes_cuda${cuda:-none}.so" -delete
