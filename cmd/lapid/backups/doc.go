// Package backups is the folder with backups: how one is written so that it has its name only when
// all of it is on the disk, and who makes them by itself and removes old ones.
package backups
