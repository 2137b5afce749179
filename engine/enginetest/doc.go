// Package enginetest holds what tests of the engine compare it with and drive
// it by: Model, the slow obvious twin, which keeps everything in slices and
// answers with loops; Rig, an engine on a memory disk with a clock set by
// hand; and Script, which plays scenario files a bouncer's author could read.
//
// Imported by tests only.
package enginetest
