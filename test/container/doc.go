// Package container tests what the Dockerfile, docker-compose.yaml and
// configs/docker.yaml say, without a container engine: that they fit one another
// and the repository, pin their versions, keep to 127.0.0.1, and hand the same
// names and passwords to those who must agree on them. Building and starting the
// images is not tested here.
package container
