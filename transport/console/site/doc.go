// Package site is what the console's pages look like: templates, style, scripts, and the words for
// times and numbers. It knows no engine and no HTTP; transport/console fills its pages.
//
// Templates are parsed once, when the first Site is made, and escape all they are given by where it
// stands (html/template): whatever an alert brings is text. No page has a script or a style of its own in it, so the
// strictest policy fits them all. Files of others lie in assets/vendor with their licences, and are never
// fetched from elsewhere.
//
// Everything that reads and every form works without scripts. What scripts add is in assets/app.js.
package site
