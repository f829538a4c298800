//! Owns the grammar of policy documents: text in, compiled statements out, or the fault with its place.

use std::collections::HashSet;

use strongroom_model::Operation;

use crate::arn::ResourcePattern;
use crate::condition::Condition;
use crate::fault::{Fault, Path, Warning};
use crate::json::{self, Node};
use crate::pattern::{Pattern, Syntax};
use crate::principal::Principals;
use crate::statement::{ActionPattern, Effect, Scope, Statement};

/// What a document is for; that decides which elements it may and must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A policy of a user, a group or a role, a boundary, or a session policy.
    Identity,
    /// The policy of a resource.
    Resource,
    /// Who may assume a role.
    Trust,
}

/// A policy document, compiled.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub(crate) statements: Vec<Statement>,
    warnings: Vec<Warning>,
}

impl Document {
    /// Parses and compiles a document.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(text: &str, kind: Kind) -> Result<Self, Fault> {
        let mut compiler = Compiler { kind, variables: false, warnings: Vec::new() };
        let statements = compiler.document(&json::parse(text)?)?;
        Ok(Self { statements, warnings: compiler.warnings })
    }

    /// What is allowed and probably not meant.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Whether anything in it asks for the request's context: a condition, or a variable.
    pub fn reads_context(&self) -> bool {
        self.statements.iter().any(Statement::reads_context)
    }

    /// The statement's Sid, if it has one.
    pub fn sid(&self, statement: usize) -> Option<&str> {
        self.statements.get(statement)?.sid.as_deref()
    }
}

struct Compiler {
    kind: Kind,
    variables: bool,
    warnings: Vec<Warning>,
}

impl Compiler {
    fn warn(&mut self, path: &Path<'_>, text: impl Into<String>) {
        self.warnings.push(Warning { text: text.into(), place: path.to_string() });
    }

    fn document(&mut self, node: &Node) -> Result<Vec<Statement>, Fault> {
        let root = Path::Root;
        let Node::Object(members) = node else {
            return Err(Fault::new(&root, format!("a policy is an object, not {}", node.kind())));
        };
        known(members, &["Version", "Id", "Statement"], &root)?;
        let version = root.member("Version");
        match member(members, "Version") {
            Some(Node::Text(text)) if text == "2012-10-17" => self.variables = true,
            Some(Node::Text(text)) if text == "2008-10-17" => {}
            Some(Node::Text(text)) => {
                let what = format!("\"{text}\" is no version; there are 2012-10-17 and 2008-10-17");
                return Err(Fault::new(&version, what));
            }
            Some(other) => return Err(Fault::new(&version, format!("a version is a string, not {}", other.kind()))),
            None => self.warn(&version, "is missing, so that ${…} stands for itself; say 2012-10-17"),
        }
        let id = root.member("Id");
        match member(members, "Id") {
            Some(Node::Text(_)) if self.kind == Kind::Identity => {
                self.warn(&id, "has no meaning in this kind of policy")
            }
            None | Some(Node::Text(_)) => {}
            Some(other) => return Err(Fault::new(&id, format!("an Id is a string, not {}", other.kind()))),
        }
        let path = root.member("Statement");
        let nodes = match member(members, "Statement") {
            Some(Node::List(list)) if !list.is_empty() => list.as_slice(),
            Some(node @ Node::Object(_)) => std::slice::from_ref(node),
            Some(Node::List(_)) | None => return Err(Fault::new(&path, "a policy has at least one statement")),
            Some(other) => {
                return Err(Fault::new(&path, format!("is an object or a list of objects, not {}", other.kind())));
            }
        };
        let mut statements = Vec::new();
        for (n, node) in nodes.iter().enumerate() {
            statements.push(self.statement(node, &path.item(n))?);
        }
        let mut seen = HashSet::new();
        for (n, sid) in statements.iter().map(|s| s.sid.as_deref().unwrap_or_default()).enumerate() {
            if !sid.is_empty() && !seen.insert(sid) {
                let what = format!("Statement IDs (SID) in a single policy must be unique: \"{sid}\" is there twice");
                return Err(Fault::new(&path.item(n).member("Sid"), what));
            }
        }
        Ok(statements)
    }

    fn statement(&mut self, node: &Node, path: &Path<'_>) -> Result<Statement, Fault> {
        let Node::Object(members) = node else {
            return Err(Fault::new(path, format!("a statement is an object, not {}", node.kind())));
        };
        let elements = [
            "Sid",
            "Effect",
            "Principal",
            "NotPrincipal",
            "Action",
            "NotAction",
            "Resource",
            "NotResource",
            "Condition",
        ];
        known(members, &elements, path)?;
        let effect = effect(members, path)?;
        let statement = Statement {
            sid: self.sid(members, path)?,
            effect,
            principals: self.principals(members, effect, path)?,
            actions: self.actions(members, path)?,
            resources: self.resources(members, path)?,
            conditions: self.conditions(members, path)?,
        };
        self.warn_of_services(&statement, members, path);
        Ok(statement)
    }

    fn sid(&self, members: &[(String, Node)], path: &Path<'_>) -> Result<Option<String>, Fault> {
        let path = path.member("Sid");
        match member(members, "Sid") {
            None => Ok(None),
            Some(Node::Text(sid)) => {
                if self.kind != Kind::Resource && !sid.bytes().all(|b| b.is_ascii_alphanumeric()) {
                    return Err(Fault::new(&path, format!("\"{sid}\" has other characters than A-Z, a-z and 0-9")));
                }
                Ok(Some(sid.clone()))
            }
            Some(other) => Err(Fault::new(&path, format!("a Sid is a string, not {}", other.kind()))),
        }
    }

    fn principals(
        &mut self,
        members: &[(String, Node)],
        effect: Effect,
        path: &Path<'_>,
    ) -> Result<Option<Principals>, Fault> {
        let found = either(members, "Principal", "NotPrincipal", path)?;
        match (self.kind, found) {
            (Kind::Identity, None) => Ok(None),
            (Kind::Identity, Some((name, ..))) => {
                Err(Fault::new(&path.member(name), "only policies of resources and roles name principals"))
            }
            (_, None) => {
                Err(Fault::new(path, "Principal is missing: a policy of a resource or a role says whom it concerns"))
            }
            (Kind::Trust, Some((name, _, true))) => Err(Fault::new(&path.member(name), "is not for trust policies")),
            (_, Some((name, node, negated))) => {
                let path = path.member(name);
                if negated && effect == Effect::Allow {
                    self.warn(&path, "with Allow, everyone else is allowed, anonymous callers too");
                }
                Principals::compile(node, negated, &path).map(Some)
            }
        }
    }

    fn actions(&mut self, members: &[(String, Node)], path: &Path<'_>) -> Result<Scope<ActionPattern>, Fault> {
        let Some((name, node, negated)) = either(members, "Action", "NotAction", path)? else {
            return Err(Fault::new(path, "Policy statement must contain actions."));
        };
        let path = path.member(name);
        let mut list = Vec::new();
        for text in strings(node, &path)? {
            list.push(self.action(text, &path)?);
        }
        if list.is_empty() {
            self.warn(&path, "is empty, so that the statement has no effect");
        }
        Ok(Scope { negated, list })
    }

    fn action(&mut self, text: &str, path: &Path<'_>) -> Result<ActionPattern, Fault> {
        if text == "*" || text == "*:*" {
            return Ok(ActionPattern::All);
        }
        let fault = |what: String| Err(Fault::new(path, what));
        if text.contains("${") {
            return fault(format!("\"{text}\" has a variable, which an action cannot have"));
        }
        let Some((service, name)) = text.split_once(':') else {
            return fault(format!(
                "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.: \"{text}\""
            ));
        };
        if name.contains(':') {
            return fault(format!("Actions/Condition can contain only one colon: \"{text}\""));
        }
        let is_vendor = !service.is_empty() && service.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !is_vendor || name.is_empty() {
            return fault(format!("Vendor {service} is not valid: \"{text}\""));
        }
        let syntax = Syntax { wildcards: true, variables: false };
        let pattern = Pattern::compile(&text.to_lowercase(), syntax, path)?;
        let is_known = |operation: &&Operation| {
            let action = format!("cloudhsm:{}", operation.name()).to_lowercase();
            pattern.matches(&action, &crate::Context::default())
        };
        if service.eq_ignore_ascii_case("cloudhsm") && !Operation::ALL.iter().any(|operation| is_known(&operation)) {
            self.warn(path, format!("there is no action {text}: it can never match"));
        }
        Ok(ActionPattern::Of(pattern))
    }

    fn resources(
        &mut self,
        members: &[(String, Node)],
        path: &Path<'_>,
    ) -> Result<Option<Scope<ResourcePattern>>, Fault> {
        let found = either(members, "Resource", "NotResource", path)?;
        let (name, node, negated) = match (self.kind, found) {
            (Kind::Trust, None) => return Ok(None),
            (Kind::Trust, Some((name, ..))) => {
                return Err(Fault::new(&path.member(name), "is not for trust policies: the role is the resource"));
            }
            (_, None) => return Err(Fault::new(path, "Policy statement must contain resources.")),
            (_, Some(found)) => found,
        };
        let path = path.member(name);
        let texts = strings(node, &path)?;
        if texts.is_empty() {
            self.warn(&path, "is empty, so that the statement has no effect");
        }
        let compile = |text: &&str| ResourcePattern::compile(text, self.variables, &path);
        Ok(Some(Scope { negated, list: texts.iter().map(compile).collect::<Result<_, _>>()? }))
    }

    fn conditions(&mut self, members: &[(String, Node)], path: &Path<'_>) -> Result<Vec<Condition>, Fault> {
        let path = path.member("Condition");
        let operators = match member(members, "Condition") {
            None => return Ok(Vec::new()),
            Some(Node::Object(operators)) => operators,
            Some(other) => {
                return Err(Fault::new(&path, format!("is an object of operators, not {}", other.kind())));
            }
        };
        let mut conditions = Vec::new();
        for (operator, keys) in operators {
            let path = path.member(operator);
            let Node::Object(keys) = keys else {
                return Err(Fault::new(&path, format!("is an object of condition keys, not {}", keys.kind())));
            };
            let mut seen = HashSet::new();
            for (key, values) in keys {
                let path = path.member(key);
                if !seen.insert(key.to_lowercase()) {
                    return Err(Fault::new(&path, "is there twice: condition keys ignore case"));
                }
                let condition = Condition::compile(operator, key, values, self.variables, &path, &mut self.warnings)?;
                conditions.push(condition);
            }
            if keys.is_empty() {
                // An operator without a key asks for nothing, but it is one.
                Condition::compile(operator, "aws:username", &Node::List(Vec::new()), false, &path, &mut Vec::new())?;
            }
        }
        Ok(conditions)
    }

    /// Warns where no resource is of a service of which an action is.
    fn warn_of_services(&mut self, statement: &Statement, members: &[(String, Node)], path: &Path<'_>) {
        if statement.actions.negated || statement.resources.as_ref().is_none_or(|resources| resources.negated) {
            return;
        }
        let services = |name: &str, at: usize| -> Option<Vec<String>> {
            let texts = strings(member(members, name)?, path).ok()?;
            texts.iter().map(|text| text.split(':').nth(at).map(str::to_lowercase)).collect()
        };
        // `*` has no service and covers all of them.
        if let (Some(actions), Some(resources)) = (services("Action", 0), services("Resource", 2))
            && !actions.iter().any(|service| service == "*" || resources.contains(service))
            && !actions.is_empty()
            && !resources.is_empty()
        {
            self.warn(path, "no resource is of a service of its actions: it can never match");
        }
    }
}

fn effect(members: &[(String, Node)], path: &Path<'_>) -> Result<Effect, Fault> {
    let path = path.member("Effect");
    match member(members, "Effect") {
        Some(Node::Text(text)) if text == "Allow" => Ok(Effect::Allow),
        Some(Node::Text(text)) if text == "Deny" => Ok(Effect::Deny),
        Some(Node::Text(text)) => Err(Fault::new(&path, format!("\"{text}\" is neither Allow nor Deny"))),
        Some(other) => Err(Fault::new(&path, format!("is Allow or Deny, not {}", other.kind()))),
        None => Err(Fault::new(&path, "is missing: Allow or Deny")),
    }
}

fn member<'a>(members: &'a [(String, Node)], name: &str) -> Option<&'a Node> {
    members.iter().find(|(there, _)| there == name).map(|(_, node)| node)
}

/// One of two elements that exclude each other: its name, its value, and whether it is the negated one.
fn either<'a>(
    members: &'a [(String, Node)],
    name: &'static str,
    negated: &'static str,
    path: &Path<'_>,
) -> Result<Option<(&'static str, &'a Node, bool)>, Fault> {
    match (member(members, name), member(members, negated)) {
        (Some(_), Some(_)) => Err(Fault::new(path, format!("{name} and {negated} exclude each other"))),
        (Some(node), None) => Ok(Some((name, node, false))),
        (None, Some(node)) => Ok(Some((negated, node, true))),
        (None, None) => Ok(None),
    }
}

/// A string or a list of them.
fn strings<'a>(node: &'a Node, path: &Path<'_>) -> Result<Vec<&'a str>, Fault> {
    let nodes = match node {
        Node::List(list) => list.as_slice(),
        node => std::slice::from_ref(node),
    };
    let text = |node: &'a Node| match node {
        Node::Text(text) => Ok(text.as_str()),
        other => Err(Fault::new(path, format!("is a string or a list of strings; {} is in it", other.kind()))),
    };
    nodes.iter().map(text).collect()
}

/// Refuses members that there are not.
fn known(members: &[(String, Node)], names: &[&str], path: &Path<'_>) -> Result<(), Fault> {
    match members.iter().find(|(name, _)| !names.contains(&name.as_str())) {
        None => Ok(()),
        Some((name, _)) => {
            let what = format!("there is no such element; there are {}", names.join(", "));
            Err(Fault::new(&path.member(name), what))
        }
    }
}
