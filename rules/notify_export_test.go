package rules

// IncidentID returns the id of the first incident that began at a time.
func IncidentID(group, name, key string, starts int64) string {
	return incident(&rule{group: group, name: name}, key, starts, 0)
}
