// Package access decides who may connect to the broker and what they may
// publish and subscribe to.
//
//	users.yaml ─▶ Parse ─▶ Set (immutable) ─┬─ Authenticate ─▶ Principal ─▶ CanPublish, CanSubscribe, CanReceive
//	     ▲ changed: read again, whole or not at all
//
// The file:
//
//	users:
//	  - name: plant-7
//	    password: $2a$10$...          # bcrypt; none: only with a client certificate of this name
//	    client_id: "plant-7-*"        # * stands for any text, %u for the name; none: any client id
//	    acl:
//	      - {topic: "sensors/%c/#", allow: publish}
//	      - {topic: "commands/%c/+", allow: subscribe}
//	anonymous:                        # what clients without a user name may do
//	  acl:
//	    - {topic: "public/#", allow: all}
//
// What no rule allows is denied. Of allow, deny is the fourth value: it takes
// precedence over every other rule, whatever their order. A subscription is
// granted if one rule's topic covers the whole filter, so "#" needs a rule for
// "#"; what a deny rule matches is then left out of what the subscription gets.
// "$share/<group>/" is not part of the filter that rules are compared with.
// "#" and "+" don't match topics that begin with "$", in rules as elsewhere.
//
// %u stands for the user's name and %c for the client id. A rule does not apply
// to a client whose name or id holds a character that would widen it (/ + #).
package access
