// Package query holds every question that Earshot asks of ClickHouse.
//
// There is one door: [Store.Company]. Each statement is built by one function
// that writes the company into its conditions, values travel as server-side
// query parameters, and every statement runs read-only with a time limit.
package query
