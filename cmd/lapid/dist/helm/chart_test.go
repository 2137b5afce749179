//go:build chart

package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	strict "sigs.k8s.io/json"

	"lapid/cmd/lapid/config"
)

// helmVersion is the program that looks at the chart.
const helmVersion = "helm.sh/helm/v4/cmd/helm@v4.3.2"

var rewrite = flag.Bool("rewrite", false, "write what comes of the values now into testdata/golden")

// certificate is what cert-manager is asked for, as far as the chart asks.
type certificate struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`
	Spec            struct {
		SecretName     string `json:"secretName"`
		SecretTemplate struct {
			Annotations map[string]string `json:"annotations"`
			Labels      map[string]string `json:"labels"`
		} `json:"secretTemplate"`
		Duration    meta.Duration `json:"duration"`
		RenewBefore meta.Duration `json:"renewBefore"`
		Usages      []string      `json:"usages"`
		DNSNames    []string      `json:"dnsNames"`
		IssuerRef   struct {
			Name  string `json:"name"`
			Kind  string `json:"kind"`
			Group string `json:"group"`
		} `json:"issuerRef"`
	} `json:"spec"`
}

// typed is an empty object of a kind; nil: the chart makes none of it.
func typed(kind string) any {
	switch kind {
	case "apps/v1 StatefulSet":
		return &apps.StatefulSet{}
	case "v1 Service":
		return &core.Service{}
	case "v1 Secret":
		return &core.Secret{}
	case "v1 ConfigMap":
		return &core.ConfigMap{}
	case "v1 Pod":
		return &core.Pod{}
	case "networking.k8s.io/v1 Ingress":
		return &networking.Ingress{}
	case "networking.k8s.io/v1 NetworkPolicy":
		return &networking.NetworkPolicy{}
	case "policy/v1 PodDisruptionBudget":
		return &policy.PodDisruptionBudget{}
	case "batch/v1 CronJob":
		return &batch.CronJob{}
	case "monitoring.coreos.com/v1 ServiceMonitor":
		return &monitoring.ServiceMonitor{}
	case "monitoring.coreos.com/v1 PodMonitor":
		return &monitoring.PodMonitor{}
	case "monitoring.coreos.com/v1 PrometheusRule":
		return &monitoring.PrometheusRule{}
	case "cert-manager.io/v1 Certificate":
		return &certificate{}
	}
	return nil
}

// helm is the program, built, and a folder where it finds nothing of this user's.
type helm struct {
	program, home, chart string
}

// newHelm builds Helm, once for a test, and packs the chart for it.
func newHelm(t *testing.T) *helm {
	t.Helper()
	h := &helm{home: t.TempDir()}
	h.program, h.chart = filepath.Join(h.home, "helm"), filepath.Join(h.home, "lapid.tgz")
	build := exec.Command("go", "install", helmVersion)
	build.Env = append(os.Environ(), "GOBIN="+h.home, "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var b bytes.Buffer
	if err := errors.Join(pack(&b, before), os.WriteFile(h.chart, b.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	return h
}

// run is what Helm says.
func (h *helm) run(words ...string) (string, error) {
	c := exec.Command(h.program, words...)
	c.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + h.home, "HELM_CONFIG_HOME=" + h.home, "KUBECONFIG=/nowhere"}
	var out, said bytes.Buffer
	c.Stdout, c.Stderr = &out, &said
	err := c.Run()
	if err != nil {
		err = fmt.Errorf("%w: %s%s", err, said.String(), out.String())
	}
	return out.String(), err
}

// TestChart has Helm look at the chart, write it out for each file of values, and say what to do next; and wants the
// same as ever, in the words of Kubernetes, and a configuration that this server starts with.
func TestChart(t *testing.T) {
	h := newHelm(t)
	if out, err := h.run("lint", "--strict", h.chart); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	files, err := filepath.Glob("cmd/lapid/dist/helm/testdata/values/*.yaml")
	if err != nil || len(files) != 13 {
		t.Fatalf("%d files of values, %v", len(files), err)
	}
	seen := map[string]bool{}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			out, err := h.run("template", "lapid", h.chart, "--namespace", "edge", "-f", file)
			if err != nil {
				t.Fatal(err)
			}
			compareGolden(t, filepath.Base(file), out)
			objects := decoded(t, out, seen)
			checkReferences(t, objects)
			checkStarts(t, objects)
		})
	}
	if len(seen) != 13 {
		t.Errorf("no values have all kinds be made: %v", seen)
	}
	refused(t, h)
	pageIsTaken(t, h)
	notes, err := h.run("install", "lapid", h.chart, "--namespace", "edge", "--dry-run=client", "--set", "console.enabled=true,lapi.persistentVolume.data.enabled=false")
	for _, text := range []string{"http://lapid-service.edge:8080", "rollout status statefulset/lapid", "exec lapid-0 -- lapid bouncers add edge-fw", "go with the pod", "its pages let nobody in"} {
		if !strings.Contains(notes, text) {
			t.Errorf("the notes do not say %q (%v)\n%s", text, err, notes)
		}
	}
}

// compareGolden holds what was written to what was written before. What is copied from files that have tests of their own is left out.
func compareGolden(t *testing.T, name, got string) {
	t.Helper()
	copied := regexp.MustCompile(`(?ms)^  (groups:$|lapid(-fleet)?\.json: \|$).*?(^---|\z)`)
	got = copied.ReplaceAllString(got, "  # copied: $1\n$3")
	file := filepath.Join("cmd/lapid/dist/helm/testdata/golden", name)
	if *rewrite {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	one, other := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i, line := range one {
		if i >= len(other) || line != other[i] {
			t.Errorf("%s:%d: %q is no longer what it was (-args -rewrite, if it is meant)", file, i+1, line)
			return
		}
	}
	t.Errorf("%s: what was behind line %d is missing", file, len(one))
}

// decoded reads every object as its type, in which each field has a place, written as it is.
func decoded(t *testing.T, text string, seen map[string]bool) (objects []any) {
	t.Helper()
	for _, document := range regexp.MustCompile(`(?m)^---$`).Split(text, -1) {
		var head struct {
			Version string `yaml:"apiVersion"`
			Kind    string `yaml:"kind"`
		}
		asJSON, err := yaml.YAMLToJSON([]byte(document))
		if err == nil {
			err = yaml.Unmarshal([]byte(document), &head)
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, document)
		}
		if head.Kind == "" {
			continue // comments alone
		}
		kind := head.Version + " " + head.Kind
		seen[kind] = true
		object := typed(kind)
		if object == nil {
			t.Errorf("nobody knows %s", kind)
			continue
		}
		faults, err := strict.UnmarshalStrict(asJSON, object)
		if err = errors.Join(append(faults, err)...); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		objects = append(objects, object)
	}
	return objects
}

// server is the pod that runs lapid, among all objects.
func server(t *testing.T, objects []any) *apps.StatefulSet {
	t.Helper()
	for _, o := range objects {
		if set, ok := o.(*apps.StatefulSet); ok {
			return set
		}
	}
	t.Fatal("no StatefulSet")
	return nil
}

// checkReferences: what is mounted is a volume, what is selected is the pod, and the pod has no power.
func checkReferences(t *testing.T, objects []any) {
	t.Helper()
	set := server(t, objects)
	pod := set.Spec.Template.Spec
	volumes := map[string]bool{}
	for _, v := range pod.Volumes {
		volumes[v.Name] = true
	}
	for _, v := range set.Spec.VolumeClaimTemplates {
		if volumes[v.Name] {
			t.Errorf("the volume %s is there twice", v.Name)
		}
		volumes[v.Name] = true
	}
	for _, m := range pod.Containers[0].VolumeMounts {
		if !volumes[m.Name] {
			t.Errorf("%s is mounted and no volume", m.Name)
		}
	}
	for _, o := range objects {
		service, ok := o.(*core.Service)
		if !ok {
			continue
		}
		for key, value := range service.Spec.Selector {
			if set.Spec.Template.Labels[key] != value {
				t.Errorf("%s selects %s=%s, which the pod is not", service.Name, key, value)
			}
		}
	}
	c, power := pod.Containers[0], pod.SecurityContext
	if s := c.SecurityContext; *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || fmt.Sprint(s.Capabilities.Drop) != "[ALL]" ||
		!*power.RunAsNonRoot || *power.RunAsUser != 65532 || *power.FSGroup != 65532 || power.SeccompProfile.Type != "RuntimeDefault" || *pod.AutomountServiceAccountToken {
		t.Errorf("%+v %+v", s, power)
	}
	if *pod.TerminationGracePeriodSeconds != 60 || c.LivenessProbe.HTTPGet.Path != "/live" || c.ReadinessProbe.HTTPGet.Path != "/ready" {
		t.Errorf("%+v", c)
	}
}

// checkStarts has this server read what the pod gives it: variables, and the files that are mounted.
func checkStarts(t *testing.T, objects []any) {
	t.Helper()
	dir, files, secrets := t.TempDir(), map[string]string{}, map[string]string{}
	for _, o := range objects {
		switch o := o.(type) {
		case *core.ConfigMap:
			for name, text := range o.Data {
				files[name] = text
			}
		case *core.Secret:
			for key, value := range o.Data {
				secrets[o.Name+" "+key] = string(value)
			}
		}
	}
	set := server(t, objects)
	var environ []string
	bouncers, machines := 0, 0
	for _, v := range set.Spec.Template.Spec.Containers[0].Env {
		value := strings.ReplaceAll(v.Value, "$(LAPID_CLUSTER_NAME)", set.Name+"-0")
		if from := v.ValueFrom; from != nil && from.FieldRef != nil {
			value = set.Name + "-0"
		}
		if from := v.ValueFrom; from != nil && from.SecretKeyRef != nil {
			ref := from.SecretKeyRef
			var known bool
			if value, known = secrets[ref.Name+" "+ref.Key]; !known {
				value = strings.Repeat("x", 64) // of a secret that is not the chart's
				if strings.HasSuffix(ref.Name, "-secrets") {
					t.Errorf("%s: the chart's secret has no %s", v.Name, ref.Key)
				}
			}
		}
		bouncers += strings.Count(v.Name, "BOUNCER_KEY_")
		machines += strings.Count(v.Name, "AGENT_USERNAME")
		if !strings.HasSuffix(v.Name, "_FILE") || strings.HasPrefix(v.Name, "LAPID_CLUSTER") { // certificates are not here
			environ = append(environ, v.Name+"="+strings.ReplaceAll(value, "/etc/crowdsec/", dir+"/"))
		}
	}
	for name, text := range files {
		if !strings.HasSuffix(name, ".json") { // dashboards
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	base := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(base, []byte("config_paths: {data_dir: /var/lib/lapid}\ndb_config: {flush: {max_age: 7d}}\napi: {server: {listen_uri: '0.0.0.0:8080'}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.ReadContainer(environ, dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Load(base)
	if err == nil {
		_, err = s.Server()
	}
	if err != nil || len(c.Bouncers) != bouncers || len(c.Machines) != machines {
		t.Errorf("%v: %d bouncers of %d, %d machines of %d", err, len(c.Bouncers), bouncers, len(c.Machines), machines)
	}
	if len(s.Warnings) > 0 {
		t.Errorf("%q", s.Warnings)
	}
}

// refused are values that must not pass, and what is said of them.
func refused(t *testing.T, h *helm) {
	for set, want := range map[string]string{
		"lapi.replicas=2":                               "/lapi/replicas",
		"lapi.enabled=false":                            "/lapi/enabled",
		"lapi.strategy.type=Recreate":                   "'strategy' not allowed",
		"lapi.persistance.enabled=true":                 "'persistance' not allowed",
		"bouncers[0].name=a":                            "a has neither key nor existingSecret",
		"bouncers[0].name=a b":                          "/bouncers/0/name",
		"machines[0].name=a":                            "a has neither password nor existingSecret",
		"console.ingress.enabled=true":                  "console is not",
		"lapi.ingress.enabled=true":                     "lapi.ingress.host is missing",
		"backup.enabled=true":                           "set console.enabled",
		"lapi.secrets.csLapiSecret=short":               "/lapi/secrets/csLapiSecret",
		"tls.enabled=true,tls.certManager.enabled=true": "tls.certManager.issuerRef.name is missing",
		"lapi.metrics.enabled=false,lapi.metrics.serviceMonitor.enabled=true": "lapi.metrics is not",
		"console.enabled=true,backup.enabled=true,backup.existingClaim=c":     "backup.existingTokenSecret is missing",
		"cluster.enabled=true,lapi.replicas=3":                                "cluster.etcd.endpoints is missing",
		"cluster.enabled=true,cluster.etcd.endpoints={https://etcd:2379}":     "cluster.secret is missing",
		"image.pullPolicy=Sometimes":                                          "/image/pullPolicy",
	} {
		if out, err := h.run("template", "lapid", h.chart, "--set", set); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want %q, got %v %.200s", set, want, err, out)
		}
	}
}

// pageValues are the blocks of the page about Kubernetes that are files of values.
func pageValues(t *testing.T) (blocks []string) {
	t.Helper()
	text, err := os.ReadFile("cmd/lapid/docs/kubernetes.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		blocks = append(blocks, block[1])
	}
	return blocks
}

// pageIsTaken: the chart takes each block of values of the page, and this server starts with what comes of it.
func pageIsTaken(t *testing.T, h *helm) {
	t.Helper()
	blocks := pageValues(t)
	for i, block := range blocks {
		file := filepath.Join(h.home, fmt.Sprintf("page-%d.yaml", i))
		if err := os.WriteFile(file, []byte(block), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := h.run("template", "lapid", h.chart, "--namespace", "crowdsec", "-f", file)
		if err != nil {
			t.Errorf("%v\n%s", err, block)
			continue
		}
		checkStarts(t, decoded(t, out, map[string]bool{}))
	}
	if len(blocks) < 5 {
		t.Errorf("%d blocks", len(blocks))
	}
}
