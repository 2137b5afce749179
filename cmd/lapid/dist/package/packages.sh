#!/usr/bin/env bash
# Builds what people install, into dist/: a package for Debian, one for Red Hat and an archive
# for each processor, with a list of what is inside (CycloneDX) and SHA256SUMS. The same commit
# gives the same bytes: the time in all of them is the commit's.
#
#   make packages                       amd64 and arm64
#   make packages ARCHES=amd64          one of them
#   make packages VERSION=0.2.0         in place of the tag's, or of what is before the next
#   make packages QUICK=yes             packed less tightly, in a third of the time
#   make packages SIGN=FILE             SHA256SUMS is signed by this key of SSH's, too
set -euo pipefail
cd "$(dirname "$0")/../../../.."

GO=${GO:-go}
NFPM="$GO run -trimpath github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2"
SBOM="$GO run -trimpath github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0"
sources=cmd/lapid/dist
own=$sources/package
out=${DIST:-dist}
compression=xz level=-9
if [ "${QUICK:-}" = yes ]; then compression=zstd level=-1; fi

epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
commit=${COMMIT:-$(git describe --always --abbrev=40 --dirty --exclude '*' 2>/dev/null || true)}
version=${VERSION:-$(git describe --tags --exact-match --match 'v[0-9]*' 2>/dev/null | sed 's/^v//' || true)}
# Before a tag the version sorts before the release that comes: 0.2.0~20261130.abcdef0.
if [ -z "$version" ]; then
  version="$(cat "$own/NEXT")~$(date -u -d "@$epoch" +%Y%m%d).${commit:0:7}"
fi
export SOURCE_DATE_EPOCH=$epoch VERSION="$version"
unset GOOS GOARCH GOFLAGS

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
rm -f "$out"/lapid_* "$out"/lapid-* "$out"/SHA256SUMS{,.sig}

build() { # architecture: the program of it, once
  [ -f "$work/lapid.$1" ] || CGO_ENABLED=0 GOOS=linux GOARCH=$1 $GO build -trimpath -buildvcs=false \
    -ldflags "-s -w -X main.version=$version -X main.commit=$commit" -o "$work/lapid.$1" ./cmd/lapid
}

# What is the same for each processor: pages, completions, documents. They are asked of a
# program that runs here.
common() { # folder
  local here share=$1/usr/share
  here=$work/lapid.$($GO env GOHOSTARCH)
  build "$($GO env GOHOSTARCH)"
  mkdir -p "$share"/man/man{5,8} "$share"/{bash-completion/completions,zsh/vendor-completions,fish/vendor_completions.d} \
    "$share"/{doc/lapid/docs,lapid,lintian/overrides}
  "$here" man "$work/man"
  cp "$work"/man/*.5 "$share/man/man5/"
  cp "$work"/man/*.8 "$share/man/man8/"
  gzip -9n "$share"/man/man?/*
  "$here" completion bash >"$share/bash-completion/completions/lapid"
  "$here" completion zsh >"$share/zsh/vendor-completions/_lapid"
  "$here" completion fish >"$share/fish/vendor_completions.d/lapid.fish"
  cp cmd/lapid/docs/*.md "$share/doc/lapid/docs/"
  cp README.md "$share/doc/lapid/"
  gzip -9nc CHANGELOG.md >"$share/doc/lapid/changelog.gz"
  printf 'lapid (%s-1) unstable; urgency=medium\n\n  * What has changed is in CHANGELOG.md, which is changelog.gz beside this file.\n\n -- the lapid authors <authors@lapid.invalid>  %s\n' \
    "$version" "$(LC_ALL=C date -u -R -d "@$epoch")" | gzip -9n >"$share/doc/lapid/changelog.Debian.gz"
  cp LICENSE "$share/doc/lapid/copyright"
  licences >"$share/doc/lapid/THIRD-PARTY-LICENCES"
  cp "$sources/lapid.json" "$sources/lapid-fleet.json" "$sources/lapid.rules.yml" "$share/lapid/"
  cp "$own/lintian-overrides" "$share/lintian/overrides/lapid"
}

# licences are those of every module that is linked in, each with its name.
licences() {
  $GO list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}}	{{.Version}}	{{.Dir}}{{end}}{{end}}' ./cmd/lapid | LC_ALL=C sort -u |
    while IFS=$'\t' read -r path release dir; do
      printf '==== %s %s\n\n' "$path" "$release"
      find "$dir" -maxdepth 1 -type f \( -iname 'licen[cs]e*' -o -iname 'copying*' -o -iname 'notice*' \) | LC_ALL=C sort | while read -r file; do cat "$file"; echo; done
    done
}

# tree is what a package of one processor holds, below a folder.
tree() { # architecture, folder
  mkdir -p "$2"/usr/bin "$2"/usr/lib/systemd/system "$2"/usr/lib/sysusers.d "$2"/etc/lapid
  cp -r "$work/common/." "$2/"
  build "$1"
  cp "$work/lapid.$1" "$2/usr/bin/lapid"
  # The unit is for /usr/local/bin, and says how to set it up by hand.
  sed -e '/^\[Unit\]/,$!d' -e 's#/usr/local/bin/#/usr/bin/#g' "$sources/lapid.service" >"$2/usr/lib/systemd/system/lapid.service"
  cp "$own/lapid.sysusers" "$2/usr/lib/sysusers.d/lapid.conf"
  cp "$own/config.yaml" "$own/profiles.yaml" "$sources/lapid.yaml" "$2/etc/lapid/"
  find "$2" -type d -exec chmod 755 {} +
  find "$2" -type f -exec chmod 644 {} +
  chmod 755 "$2/usr/bin/lapid"
  find "$2" -exec touch -h -d "@$epoch" {} +
}

archive() { # architecture, tree
  local name="lapid-$version-linux-$1"
  mkdir -p "$work/archive/$name"
  cp -r "$2/." "$work/archive/$name/"
  rm -r "$work/archive/$name/usr/share/lintian" "$work/archive/$name/usr/share/doc/lapid/changelog.Debian.gz"
  cp "$own/INSTALL" LICENSE "$work/archive/$name/"
  tar -C "$work/archive" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$epoch" -cf - "$name" | gzip -n "$level" >"$out/$name.tar.gz"
}

# sbom is what the program of one processor says it was built from, with the licence of each module.
# No licence is found of the main module and of Go's library, which are in no registry, and that is not worth a word.
sbom() { # architecture
  $SBOM bin -json -std -licenses -noserial -version "$version" -output "$work/sbom.json" "$work/lapid.$1" 2>"$work/said" ||
    { cat "$work/said" >&2; return 1; }
  grep -vE 'module=.*(lapid|std)@' "$work/said" >&2 || true
  # The time in it would make each build another.
  sed "s/\"timestamp\": \"[^\"]*\"/\"timestamp\": \"$(date -u -d "@$epoch" +%Y-%m-%dT%H:%M:%SZ)\"/" "$work/sbom.json" >"$out/lapid-$version-linux-$1.cdx.json"
}

common "$work/common"
sed "s/compression: xz/compression: $compression/" "$own/nfpm.yaml" >"$work/nfpm.yaml"
for arch in ${ARCHES:-amd64 arm64}; do
  export ARCH=$arch TREE="$work/$arch"
  tree "$arch" "$TREE"
  jobs=()
  for kind in deb rpm; do
    $NFPM package --config "$work/nfpm.yaml" --packager "$kind" --target "$out/" >&2 & jobs+=($!)
  done
  archive "$arch" "$TREE" & jobs+=($!)
  sbom "$arch" & jobs+=($!)
  for job in "${jobs[@]}"; do wait "$job"; done
done
(cd "$out" && LC_ALL=C sha256sum lapid[_-]* >SHA256SUMS)
[ -z "${SIGN:-}" ] || ssh-keygen -q -Y sign -f "$SIGN" -n lapid "$out/SHA256SUMS"
ls -l "$out"
