package corpus

import "time"

// weighted is a word and how many of a thousand entries bear it.
type weighted struct {
	word  string
	count int
}

// scenarios as the public hub names them, the community list's many first.
var scenarios = spread([]weighted{
	{"crowdsecurity/ssh-bf", 170}, {"crowdsecurity/ssh-slow-bf", 90}, {"crowdsecurity/http-probing", 120},
	{"crowdsecurity/http-crawl-non_statics", 70}, {"crowdsecurity/http-bad-user-agent", 65},
	{"crowdsecurity/http-path-traversal-probing", 40}, {"crowdsecurity/http-sensitive-files", 45},
	{"crowdsecurity/http-backdoors-attempts", 30}, {"crowdsecurity/http-bf-wordpress_bf", 45},
	{"crowdsecurity/http-wordpress-scan", 30}, {"crowdsecurity/http-wordpress_user-enum", 15},
	{"crowdsecurity/http-xss-probing", 14}, {"crowdsecurity/http-sqli-probing", 16},
	{"crowdsecurity/http-generic-bf", 24}, {"crowdsecurity/http-open-proxy", 20},
	{"crowdsecurity/http-cve-2021-41773", 18}, {"crowdsecurity/http-cve-2021-42013", 14},
	{"crowdsecurity/CVE-2022-35914", 4}, {"crowdsecurity/CVE-2019-18935", 6}, {"crowdsecurity/CVE-2017-9841", 24},
	{"crowdsecurity/thinkphp-cve-2018-20062", 12}, {"crowdsecurity/apache_log4j2_cve-2021-44228", 8},
	{"crowdsecurity/spring4shell_cve-2022-22965", 4}, {"crowdsecurity/f5-big-ip-cve-2020-5902", 5},
	{"crowdsecurity/fortinet-cve-2018-13379", 8}, {"crowdsecurity/jira_cve-2021-26086", 3},
	{"crowdsecurity/grafana-cve-2021-43798", 3}, {"crowdsecurity/vmware-vcenter-vmsa-2021-0027", 3},
	{"crowdsecurity/nginx-req-limit-exceeded", 10}, {"crowdsecurity/iptables-scan-multi_ports", 24},
	{"crowdsecurity/postfix-spam", 14}, {"crowdsecurity/dovecot-spam", 8}, {"crowdsecurity/telnet-bf", 10},
	{"crowdsecurity/mysql-bf", 6}, {"crowdsecurity/pgsql-bf", 3}, {"crowdsecurity/smb-bf", 4},
	{"crowdsecurity/vsftpd-bf", 3}, {"crowdsecurity/modsecurity", 6}, {"crowdsecurity/ban-defcon-drop_range", 6},
})

// origins as they are seen where the community's list is pulled.
var origins = spread([]weighted{{"CAPI", 780}, {"lists", 150}, {"crowdsec", 60}, {"cscli", 10}})

// types of remediation.
var types = spread([]weighted{{"ban", 965}, {"captcha", 30}, {"throttle", 5}})

// spread lays words out so that a number of a thousand picks one with its weight.
func spread(words []weighted) (line [cycle]string) {
	i := 0
	for _, w := range words {
		for range w.count {
			line[i] = w.word
			i++
		}
	}
	for ; i < cycle; i++ {
		line[i] = words[0].word
	}
	return line
}

// duration is what an entry of an origin gets: four hours of the stock profile,
// a day for lists, one to seven days of the community's. None is shorter, so
// nothing ends while it is measured.
func duration(origin string, r uint64) time.Duration {
	switch origin {
	case "CAPI":
		return 24*time.Hour + time.Duration(r%(6*24*60))*time.Minute
	case "lists":
		return 24 * time.Hour
	}
	return 4 * time.Hour
}
