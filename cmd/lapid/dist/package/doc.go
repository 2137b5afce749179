// Package packages is how lapid is packed for Debian, for Red Hat and as an archive: packages.sh
// beside this file, which make packages runs, and its tests, which make packages-test runs.
package packages
