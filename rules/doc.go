// Package rules watches events with rules: it loads and checks rule files,
// evaluates the rules over the log, and derives alerts and recordings from it.
//
//	rule files ─▶ Load ─▶ Set ─▶ Marshal ─▶ RuleSet record in the log
//	              all or nothing                   │
//	log ─▶ Batch ─▶ Engine.Process ◀───────────────┘
//	                │ 1 advance the log time, fire the timers that are due
//	                │ 2 evaluate the rules that can match the event
//	                └─▶ Derived: alert facts and recordings, which go back into the log
//
// The state of an engine is a function of the log: it never reads the wall
// clock, and a rule set takes effect at its record in the log. Live, restored
// from a snapshot or replayed from the beginning, the same log gives the same
// alerts with the same ids.
//
// The life of an alert, for one rule and one key (the device):
//
//	inactive ──expr──▶ pending ──for──▶ firing ──clear──▶ (keep_firing_for) ──▶ resolved
//	    ▲                 │                ▲                    │
//	    └────not expr─────┘                └────────expr────────┘
//
// Without for an alert fires at once, without keep_firing_for it is resolved at
// once, without clear it clears when expr is false. An event on which an
// expression cannot be evaluated (nil > 3) or that has none of the fields that
// it reads says nothing: the alert stays as it is and its timers go on.
//
// Labels, annotations and the topics and payloads of mqtt actions are
// templates: {{ }} holds any expression. Beside what expressions read there are
// value (the field of that name, or else alert.value), alert.name, alert.group,
// alert.key and alert.value (of the left-most field that expr reads), and, but
// for labels, alert.id, alert.state, alert.starts_at and labels.<name>.
//
// A recording reaches the rules that ask for it: by match.measurement, then its
// value is the field value, or by reading its name, as in Prometheus.
package rules
