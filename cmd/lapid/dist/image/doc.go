// Command image builds what containers are started from: an OCI layout in dist/image for each
// processor, with nothing in it but lapid, and dist/rootfs-linux-ARCH.tar.gz, the same files for a
// Dockerfile. The same commit gives the same bytes. It needs no root, no daemon and no registry.
//
//	make image                      amd64 and arm64
//	make image ARCHES=amd64         one of them
//	make image VERSION=0.2.0        in place of the tag's, or of what is before the next
//
// Its tests build one for this processor, and live in it: make image-test.
package main
