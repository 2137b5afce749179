// Package persist keeps bytes in order and gives them back after the lights go out.
// It does not know what a decision is.
package persist
